#include "measure.hpp"

#include <algorithm>
#include <vector>

#include "platform/clock.hpp"

namespace splitwiser::bench {

Timing repeat(double seconds, const std::function<void()>& body) {
  constexpr std::size_t kLeast = 5;
  constexpr std::size_t kMost = 20'000;
  body();
  std::vector<double> times;
  const std::int64_t begin = monotonic_ns();
  std::int64_t last = begin;
  while (times.size() < kLeast || (times.size() < kMost && double(last - begin) < seconds * 1e9)) {
    body();
    const std::int64_t now = monotonic_ns();
    times.push_back(double(now - last) * 1e-6);
    last = now;
  }
  std::sort(times.begin(), times.end());
  const std::size_t n = times.size();
  return {times[n / 2], times[n * 3 / 4] - times[n / 4], int(n)};
}

}  // namespace splitwiser::bench
