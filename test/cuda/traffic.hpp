// The bounds on a kernel's traffic, in exact counts of the simulated device (issue: Traffic).
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "device_counters.hpp"

namespace splitwiser::cuda_test {

// What a launch must do, in bytes.
struct Traffic {
  std::string kernel;
  double compulsory = 0;       // every different byte of tensors read or written, once
  double requested = 0;        // what the documented tiling asks for, repeats included
  double arrays = 0;           // the same of the step's arrays (page ids, lengths, slots): all threads ask for one number
  std::uint64_t copied = 0;    // of `requested`, by cp.async: exact
  std::uint64_t mma = 0;       // matrix instructions of the tiles: exact
  std::uint64_t streamed = 0;  // decode: weights, keys and values, each byte once; 0: this is no decode kernel
  double partials = 0;         // decode: results of splits, written and read again, in sectors; at most 4 % of `streamed`
};

// Runs `work`, which launches the kernel once; prints the numbers and checks the bounds. On a real GPU nothing is run, and
// the output says that it was left out, and why.
void check_traffic(const std::string& name, const Traffic& need, const std::function<void()>& work);

}  // namespace splitwiser::cuda_test
