// Kernels that work row by row: embedding, positions, norms, gathering, the write of keys and values with rotary.
// The face of rows.cu.
#pragma once

#include <cstdint>

#include "attention.hpp"
#include "launch.hpp"
#include "step_view.hpp"
#include "types.hpp"

namespace splitwiser {

// out[r] = tokens[token_ids[r]] (+ positions[positions[r] + position_offset]); tokens null: added to what out has.
struct EmbedParams {
  StepView step;
  const void* tokens;         // [vocab, token_stride] or null
  const void* positions;      // [positions, position_stride] or null
  void* out;                  // [rows, cols]
  std::int64_t token_stride, position_stride, cols;  // in elements
  std::int32_t position_offset;
  DType dtype;
};
[[nodiscard]] LaunchPlan plan_embed(const EmbedParams& params, const DeviceShape& device);

// out = norm(x + residual), and sum = x + residual where sum is given. Layer norm with bias and mean, RMS norm without.
struct NormParams {
  const void* x;              // [rows, cols]
  const void* residual;       // [rows, cols] or null
  void* sum;                  // [rows, cols] or null; may be x or residual
  void* out;                  // [rows, cols]; may be x
  const float* weight;        // [cols]
  const float* bias;          // [cols] or null
  const std::int32_t* real_rows;  // device, or null: rows
  std::int64_t rows, cols;
  float eps;
  bool rms;
  DType dtype;
};
// Threads of a row, from its length alone: they are part of the order of its sums.
[[nodiscard]] std::uint32_t norm_threads(std::int64_t cols);
[[nodiscard]] LaunchPlan plan_norm(const NormParams& params, const DeviceShape& device);

// out[i] = x[rows[i]].
struct GatherParams {
  const void* x;
  const std::int32_t* rows;   // device [count]
  void* out;                  // [count, cols]
  const std::int32_t* real_count;  // device, or null: count
  std::int64_t count, cols;
  DType dtype;
};
[[nodiscard]] LaunchPlan plan_gather(const GatherParams& params, const DeviceShape& device);

enum class RotaryForm : std::uint8_t { none, halves, pairs };  // Llama: x[i], x[i + dims / 2]; GPT-J: x[2i], x[2i + 1]

// Writes k and v of each row to the cache at the row's position; q and k are rotated first (q in place).
struct KvWriteParams {
  StepView step;
  KvView kv;
  void* qkv;                  // [rows, qkv_cols]: [q | k | v]
  std::int64_t qkv_cols;
  DType dtype;
  std::int32_t heads, kv_heads, head_dim;
  RotaryForm rotary;
  std::int32_t rotary_dims;   // the first dims of a head that turn; even, <= head_dim
  const float* inverse_frequencies;  // [rotary_dims / 2] or null
};
[[nodiscard]] LaunchPlan plan_kv_write(const KvWriteParams& params, const DeviceShape& device);

}  // namespace splitwiser
