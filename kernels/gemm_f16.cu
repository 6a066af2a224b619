// GEMM kernels for weights and tokens in f16.
#include "gemm_narrow.cuh"
#include "gemm_shapes.cuh"

namespace splitwiser::gemm {

SPLITWISER_KERNEL(gemm_wide_f16, GemmParams, 256, 2) { blocked_body<ptx::F16, WideShape, false>(params); }
SPLITWISER_KERNEL(gemm_wide_parts_f16, GemmParams, 256, 1) { blocked_body<ptx::F16, WideShape, true>(params); }
SPLITWISER_KERNEL(gemm_middle_f16, GemmParams, 128, 3) { blocked_body<ptx::F16, MiddleShape, true>(params); }
SPLITWISER_KERNEL(gemm_narrow64_f16, GemmParams, 128, 3) { blocked_body<ptx::F16, SlimShape, true>(params); }
SPLITWISER_KERNEL(gemm_narrow32_f16, GemmParams, 256, 2) { narrow_body<ptx::F16, 32>(params); }
SPLITWISER_KERNEL(gemm_narrow16_f16, GemmParams, 256, 2) { narrow_body<ptx::F16, 16>(params); }
SPLITWISER_KERNEL(gemm_narrow8_f16, GemmParams, 256, 3) { narrow_body<ptx::F16, 8>(params); }
SPLITWISER_KERNEL(gemm_normed32_f16, GemmParams, 256, 2) { narrow_body<ptx::F16, 32, true>(params); }
SPLITWISER_KERNEL(gemm_normed16_f16, GemmParams, 256, 2) { narrow_body<ptx::F16, 16, true>(params); }
SPLITWISER_KERNEL(gemm_normed8_f16, GemmParams, 256, 3) { narrow_body<ptx::F16, 8, true>(params); }

}  // namespace splitwiser::gemm
