// Timing of one case: repeats, median, spread.
#pragma once

#include <functional>

namespace splitwiser::bench {

struct Timing {
  double median_ms = 0;
  double spread_ms = 0;  // between the first and the third quartile
  int repeats = 0;
};

// Runs `body` once to warm up, then at least 5 times and until `seconds` have passed.
[[nodiscard]] Timing repeat(double seconds, const std::function<void()>& body);

}  // namespace splitwiser::bench
