// Runs a test of this program again, alone, in a process of its own with other settings: the simulated driver reads its
// environment once.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace splitwiser::cuda_test {

using Settings = std::vector<std::pair<std::string, std::string>>;

struct ChildResult {
  int status = -1;      // exit code; -1: it was killed or could not be started
  std::string output;
};

// `test`: its whole name.
[[nodiscard]] ChildResult run_child(const std::string& test, const Settings& settings);

// A function of control.hpp in the driver that is loaded; null on a real driver.
[[nodiscard]] void* simulator_function(const char* name);
[[nodiscard]] bool simulated();

}  // namespace splitwiser::cuda_test
