// What every way of launching a kernel has in common: stream launches and graph nodes.
#pragma once

#include <cuda.h>

#include "state.hpp"

namespace simdriver {

struct LaunchShape {
  unsigned grid[3];
  unsigned block[3];
  unsigned shared_bytes;
};

// Checks a launch as hardware and cuda-rules.md 3 do, and makes the operation of it; each refusal is a finding.
CUresult make_launch(State& all, CUfunction handle, const LaunchShape& shape, void** parameters, void** extra,
                     const std::shared_ptr<Context>& context, bool capturing, Operation& to);

// SIMDRIVER_STALL: every n-th launch sleeps here, without the lock.
void stall(State& all, std::unique_lock<std::mutex>& lock);

}  // namespace simdriver
