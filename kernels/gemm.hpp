// GEMM: out[n, m] = epilogue(x[n, k] . weight[m, k]^T), the face of gemm*.cu.
//
// Weights are the M operand, tokens the N operand, for any number of tokens. An element's sum has one order, fixed by
// the weight's shape and type: K is cut into `parts` contiguous parts (gemm_parts), each part is one chain over ascending k
// (mma m16n8k16 in f16 and bf16, fma in f32) from zero, the total is ((p0 + p1) + p2) + ..., then bias, activation,
// residual in f32, and one rounding. Tiles, stages and grids are free: they change no element's sum.
#pragma once

#include <cstdint>

#include "launch.hpp"
#include "types.hpp"

namespace splitwiser {

// Weights lie in rows of `k_stride` elements, zero-filled beyond k, k_stride a multiple of kGemmKAlign; rows are
// zero-filled up to a multiple of kGemmMAlign. Both are the packing's duty (backend).
inline constexpr int kGemmKAlign = 64;
inline constexpr int kGemmMAlign = 128;

// x is normalised first, as by a norm kernel (rows.hpp; the same bits, rounded to dtype): for few tokens, where that is less
// work in every block than a launch of its own.
struct GemmNorm {
  const float* weight;       // [k], base a multiple of 16; null: x is taken as it is
  const float* bias;         // [k] or null
  float eps;
  std::int32_t warps;        // set by plan_gemm: of a row in the norm kernel, which is the order of its sums
  std::int32_t place;        // set by plan_gemm: of the normalised tokens in shared memory
  bool rms;
};

struct GemmParams {
  const void* weight;        // [m, k_stride], dtype
  const void* x;             // [n, k], dtype, rows contiguous; row bytes and base are multiples of 16
  void* out;                 // [n, m] (gated: [n, m / 2]), out_dtype; base a multiple of 16
  const float* bias;         // [m] or null; base a multiple of 16
  const void* residual;      // [n, m], out_dtype, or null; may be `out`
  const std::int32_t* rows;  // device: how many rows of x are real (<= n), or null: n
  std::int64_t m, n, k, k_stride;
  DType dtype;               // of weight and x
  DType out_dtype;           // dtype, or f32 (logits)
  Activation activation;
  bool gated;                // rows of weight alternate in blocks of 8: gate, up; out = activation(gate) * up
  std::int32_t parts;        // set by plan_gemm: parts of K
  std::int32_t stages;       // set by plan_gemm: K steps that the narrow kernels hold in shared memory
  float soft_cap;            // of logits: out = cap * tanh(out / cap), before the residual; 0: none
  GemmNorm norm;
};
static_assert(sizeof(GemmParams) == 128);

// Parts of K: from weight shape and type alone (and architecture, should one ever need it), never from n.
[[nodiscard]] int gemm_parts(std::int64_t m, std::int64_t k, DType dtype);

// Whether plan_gemm takes params.norm for this shape: up to 32 tokens (f32: 8) whose rows fit beside the weights' stages.
[[nodiscard]] bool gemm_normalizes(const GemmParams& params, const DeviceShape& device);

// Sets what is said to be set and chooses the kernel. Throws std::invalid_argument for shapes that
// no kernel takes.
[[nodiscard]] LaunchPlan plan_gemm(GemmParams& params, const DeviceShape& device);

}  // namespace splitwiser
