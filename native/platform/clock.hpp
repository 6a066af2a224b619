// The one clock of native code.
#pragma once

#include <cstdint>

namespace splitwiser {

// Nanoseconds of a monotonic clock; its zero has no meaning.
[[nodiscard]] std::int64_t monotonic_ns() noexcept;

}  // namespace splitwiser
