#include "platform/clock.hpp"

#include <chrono>

namespace splitwiser {

std::int64_t monotonic_ns() noexcept {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

}  // namespace splitwiser
