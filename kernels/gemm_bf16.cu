// GEMM kernels for weights and tokens in bf16.
#include "gemm_narrow.cuh"
#include "gemm_shapes.cuh"

namespace splitwiser::gemm {

SPLITWISER_KERNEL(gemm_wide_bf16, GemmParams, 256, 2) { blocked_body<ptx::BF16, WideShape, false>(params); }
SPLITWISER_KERNEL(gemm_wide_parts_bf16, GemmParams, 256, 1) { blocked_body<ptx::BF16, WideShape, true>(params); }
SPLITWISER_KERNEL(gemm_middle_bf16, GemmParams, 128, 3) { blocked_body<ptx::BF16, MiddleShape, true>(params); }
SPLITWISER_KERNEL(gemm_narrow64_bf16, GemmParams, 128, 3) { blocked_body<ptx::BF16, SlimShape, true>(params); }
SPLITWISER_KERNEL(gemm_narrow32_bf16, GemmParams, 256, 2) { narrow_body<ptx::BF16, 32>(params); }
SPLITWISER_KERNEL(gemm_narrow16_bf16, GemmParams, 256, 2) { narrow_body<ptx::BF16, 16>(params); }
SPLITWISER_KERNEL(gemm_narrow8_bf16, GemmParams, 256, 3) { narrow_body<ptx::BF16, 8>(params); }
SPLITWISER_KERNEL(gemm_normed32_bf16, GemmParams, 256, 2) { narrow_body<ptx::BF16, 32, true>(params); }
SPLITWISER_KERNEL(gemm_normed16_bf16, GemmParams, 256, 2) { narrow_body<ptx::BF16, 16, true>(params); }
SPLITWISER_KERNEL(gemm_normed8_bf16, GemmParams, 256, 3) { narrow_body<ptx::BF16, 8, true>(params); }

}  // namespace splitwiser::gemm
