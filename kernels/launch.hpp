// How a kernel is launched. Each family's header (gemm.hpp, attention.hpp, rows.hpp, sample.hpp, pages.hpp) has its
// parameter structs and, for the host, pure plan functions that choose kernel, grid, block and shared memory.
//
// Every kernel takes one parameter struct by value, has a one-dimensional grid and block, and walks its work with a
// stride of the grid: any grid size gives the same result, so that a lane's SM count or CTA quota bounds the grid.
#pragma once

#include <cstdint>

namespace splitwiser {

// The part of a device that a lane may use.
struct DeviceShape {
  int sms = 1;                      // of the lane, as read back from its context
  int arch = 80;                    // compute capability, major * 10 + minor
  int shared_bytes_per_block = 163 * 1024;  // the opt-in limit
};

struct LaunchPlan {
  const char* kernel = nullptr;     // its name in the fatbin
  std::uint32_t grid = 0;           // 0: there is nothing to do, and nothing is launched
  std::uint32_t block = 0;
  std::uint32_t shared_bytes = 0;   // dynamic
};

}  // namespace splitwiser
