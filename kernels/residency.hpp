// How many blocks of a kernel a multiprocessor holds at once: for the plans, which launch one turn of blocks.
#pragma once

#include <algorithm>

#include "launch.hpp"

namespace splitwiser {

// Of compute capabilities as in the CUDA C++ Programming Guide; those that are not named have as much as the least.
constexpr int shared_bytes_per_sm(int arch) {
  switch (arch) {
    case 80: case 87: return 164 * 1024;
    case 90: case 100: case 103: return 228 * 1024;
    default: return 100 * 1024;
  }
}

// by_registers: as many as registers allow. A block costs 1 KB of shared memory more than it asks for.
constexpr int blocks_per_sm(const DeviceShape& device, int shared_bytes, int by_registers) {
  return std::clamp(shared_bytes_per_sm(device.arch) / (shared_bytes + 1024), 1, by_registers);
}

}  // namespace splitwiser
