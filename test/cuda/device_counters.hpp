// What the simulated device counted for one kernel (test/simdriver/control.hpp). A real GPU counts nothing that is asked here.
#pragma once

#include <functional>
#include <string>

#include "../simdriver/simt/counters.hpp"

namespace splitwiser::cuda_test {

// fast: counters marked (f) only; checked: all; real: none.
enum class CountingTier { real, fast, checked };
[[nodiscard]] CountingTier counting_tier();
// There a kernel takes ten times as long: it sees all code, the fast tier all combinations.
[[nodiscard]] inline bool on_checked_tier() { return counting_tier() == CountingTier::checked; }

// What `work` added to the kernel's counters. Waits for the device before and after. Not on a real GPU.
[[nodiscard]] simt::Counters count(const std::string& kernel, const std::function<void()>& work);

}  // namespace splitwiser::cuda_test
