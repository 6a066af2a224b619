// Which row kernel, and how many blocks of it.
#include "rows.hpp"

#include <algorithm>

namespace splitwiser {

namespace {

constexpr std::uint32_t kRowThreads = 128;
constexpr std::int64_t kRowBlocksPerSm = 16;  // 2048 threads: as many as an SM holds

const char* by_type(DType dtype, const char* f32, const char* f16, const char* bf16) {
  return dtype == DType::f32 ? f32 : dtype == DType::f16 ? f16 : bf16;
}

std::uint32_t grid_of(std::int64_t blocks, std::int64_t per_sm, const DeviceShape& device) {
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(blocks, 0, std::int64_t(device.sms) * per_sm));
}

// Warps of blocks of kRowThreads, each on 32 items of a row.
LaunchPlan plan_items(const char* kernel, std::int64_t rows, std::int64_t items, const DeviceShape& device) {
  constexpr std::int64_t kWarps = kRowThreads / 32;
  const std::int64_t units = rows * ((items + 31) / 32);
  return {kernel, grid_of((units + kWarps - 1) / kWarps, kRowBlocksPerSm, device), kRowThreads, 0};
}

}  // namespace

LaunchPlan plan_embed(const EmbedParams& params, const DeviceShape& device) {
  return plan_items(by_type(params.dtype, "embed_f32", "embed_f16", "embed_bf16"), params.step.rows,
                    (params.cols + 7) / 8, device);
}

std::uint32_t norm_threads(std::int64_t cols) {
  const std::int64_t vectors = (cols + 7) / 8;
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>((vectors + 31) / 32 * 32, 32, 256));
}

LaunchPlan plan_norm(const NormParams& params, const DeviceShape& device) {
  const std::uint32_t threads = norm_threads(params.cols);
  return {by_type(params.dtype, "norm_f32", "norm_f16", "norm_bf16"),
          grid_of(params.rows, std::min<std::int64_t>(2048 / threads, 32), device), threads, 2 * 32 * sizeof(float)};
}

LaunchPlan plan_gather(const GatherParams& params, const DeviceShape& device) {
  const auto per_vector = static_cast<std::int64_t>(16 / bytes_of(params.dtype));
  return plan_items(by_type(params.dtype, "gather_32", "gather_16", "gather_16"), params.count,
                    (params.cols + per_vector - 1) / per_vector, device);
}

LaunchPlan plan_kv_write(const KvWriteParams& params, const DeviceShape& device) {
  const char* const f32 = by_type(params.kv.dtype, "kv_write_f32_f32", "kv_write_f32_f16", "kv_write_f32_bf16");
  const char* const f16 = by_type(params.kv.dtype, "kv_write_f16_f32", "kv_write_f16_f16", "kv_write_f16_bf16");
  const char* const bf16 = by_type(params.kv.dtype, "kv_write_bf16_f32", "kv_write_bf16_f16", "kv_write_bf16_bf16");
  // As rows_kv_write.cuh cuts a row: slices of a head times groups of four heads.
  const bool turns = params.rotary != RotaryForm::none && params.rotary_dims > 0;
  const int turning = turns ? params.rotary_dims : 0;
  const int slices = (turning / 2 + 7) / 8 + (params.kv.row - turning + 7) / 8;
  const int heads = (turns ? params.heads : 0) + 2 * params.kv_heads;
  return plan_items(by_type(params.dtype, f32, f16, bf16), params.step.rows, std::int64_t((heads + 3) / 4) * slices,
                    device);
}

}  // namespace splitwiser
