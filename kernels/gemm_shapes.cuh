// The tiles of the GEMM kernels. gemm_plan.cpp has the same numbers for the host (a kernel that got less
// shared memory than it uses would fail on the simulated device).
#pragma once

#include "gemm_blocked.cuh"

namespace splitwiser::gemm {

//                                BlockM BlockN WarpsM WarpsN RowBytes Stages
using WideShape = BlockShape<128, 128, 2, 4, 64, 4>;    // 66 KB: the sums are larger than the stages
using MiddleShape = BlockShape<64, 64, 2, 2, 128, 4>;   // 64 KB
using SlimShape = BlockShape<32, 64, 2, 2, 128, 6>;     // 72 KB

static_assert(WideShape::shared_bytes == 66 * 1024 && MiddleShape::shared_bytes == 64 * 1024 &&
              SlimShape::shared_bytes == 72 * 1024);

}  // namespace splitwiser::gemm
