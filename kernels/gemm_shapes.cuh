// The tiles of the GEMM kernels. gemm_plan.cpp has the same numbers for the host (checked by the kernels' tests).
#pragma once

#include "gemm_blocked.cuh"

namespace splitwiser::gemm {

//                                BlockM BlockN WarpsM WarpsN RowBytes Stages
using WideShape = BlockShape<128, 128, 2, 4, 64, 4>;    // 64 KB
using MiddleShape = BlockShape<64, 64, 2, 2, 128, 4>;   // 64 KB
using SlimShape = BlockShape<32, 64, 2, 2, 128, 6>;     // 72 KB

}  // namespace splitwiser::gemm
