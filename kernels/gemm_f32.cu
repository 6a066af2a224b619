// GEMM kernels for weights and tokens in f32.
#include "gemm_f32.cuh"
#include "gemm_narrow.cuh"
#include "gemm_shapes.cuh"

namespace splitwiser::gemm {

SPLITWISER_KERNEL(gemm_wide_f32, GemmParams, 128, 3) { blocked_f32_body<MiddleShape>(params); }
SPLITWISER_KERNEL(gemm_narrow8_f32, GemmParams, 256, 2) { narrow_body<float, 8>(params); }
SPLITWISER_KERNEL(gemm_normed8_f32, GemmParams, 256, 2) { narrow_body<float, 8, true>(params); }

}  // namespace splitwiser::gemm
