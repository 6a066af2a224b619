// Which attention kernel, how many blocks, how much scratch.
#include <algorithm>
#include <array>

#include "attention.hpp"
#include "attention_shape.hpp"
#include "residency.hpp"

namespace splitwiser {
namespace {

// What a kernel's shape says, as values.
struct Variant {
  const char* kernel;
  int threads, shared_bytes, blocks;  // blocks: as many as registers allow
};

struct Variants {
  DType dtype;
  int head_dim;
  int prefill_rows;
  Variant prefill, decode;
  Variant block_decode;  // no kernel: there is none
};

template <class Tiling>
constexpr Variant decode_variant(const char* kernel) {
  return {kernel, Tiling::kThreads, Tiling::kBytes, Tiling::kBlocks};
}

template <int Bytes, int Dim>
constexpr Variants variants(DType dtype, const char* prefill, const char* decode, const char* block_decode) {
  using Shape = AttentionShape<Bytes, Dim>;
  Variants all{dtype, Dim, Shape::kPrefillRows,
               {prefill, Shape::kPrefillThreads, Shape::kPrefillBytes, Shape::kPrefillBlocks},
               decode_variant<DecodeShape<Shape, false>>(decode), {}};
  if constexpr (kHasBlockDecode<Shape>) all.block_decode = decode_variant<DecodeShape<Shape, true>>(block_decode);
  return all;
}

#define SPLITWISER_VARIANTS(type, bytes, dim)                                              \
  variants<bytes, dim>(DType::type, "attention_prefill_" #type "_d" #dim,                  \
                       "attention_decode_" #type "_d" #dim, "attention_decode_block_" #type "_d" #dim)
constexpr std::array<Variants, 15> kVariants = {
    SPLITWISER_VARIANTS(f16, 2, 64),   SPLITWISER_VARIANTS(f16, 2, 80),   SPLITWISER_VARIANTS(f16, 2, 96),
    SPLITWISER_VARIANTS(f16, 2, 128),  SPLITWISER_VARIANTS(f16, 2, 256),  SPLITWISER_VARIANTS(bf16, 2, 64),
    SPLITWISER_VARIANTS(bf16, 2, 80),  SPLITWISER_VARIANTS(bf16, 2, 96),  SPLITWISER_VARIANTS(bf16, 2, 128),
    SPLITWISER_VARIANTS(bf16, 2, 256), SPLITWISER_VARIANTS(f32, 4, 64),   SPLITWISER_VARIANTS(f32, 4, 80),
    SPLITWISER_VARIANTS(f32, 4, 96),   SPLITWISER_VARIANTS(f32, 4, 128),  SPLITWISER_VARIANTS(f32, 4, 256)};
#undef SPLITWISER_VARIANTS

// Null: no kernel has rows that long.
const Variants* find(int head_dim, DType dtype) {
  for (const Variants& one : kVariants) {
    if (one.head_dim == padded_head_dim(head_dim) && one.dtype == dtype) return &one;
  }
  return nullptr;
}

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

std::int64_t m_tiles(const AttentionParams& params) { return ceil_div(params.heads / params.kv_heads, kFragmentRows); }
std::int64_t splits(const AttentionParams& params) { return ceil_div(params.max_kv_length, kSplitKeys); }

// Blocks that the lane's multiprocessors hold at once.
std::int64_t resident(const Variant& variant, const DeviceShape& device) {
  return std::int64_t(device.sms) * blocks_per_sm(device, variant.shared_bytes, variant.blocks);
}

LaunchPlan plan(const Variant& variant, std::int64_t units, const DeviceShape& device) {
  const std::int64_t grid = std::min(units, resident(variant, device));
  return {variant.kernel, std::uint32_t(grid), std::uint32_t(variant.threads), std::uint32_t(variant.shared_bytes)};
}

}  // namespace

int prefill_tile_rows(int /*heads*/, int /*kv_heads*/, int head_dim, DType kv_dtype) {
  const Variants* found = find(head_dim, kv_dtype);
  return found == nullptr ? 0 : found->prefill_rows;
}

std::int64_t decode_partial_floats(const AttentionParams& params) {
  if (splits(params) <= 1) return 0;
  return std::int64_t(params.step.segments) * params.heads * splits(params) *
         (padded_head_dim(params.head_dim) + kPartialExtra);
}

std::int64_t decode_arrivals(const AttentionParams& params) {
  return std::int64_t(params.step.segments) * params.kv_heads * m_tiles(params);
}

LaunchPlan plan_attention_prefill(const AttentionParams& params, const DeviceShape& device) {
  const Variants* found = find(params.head_dim, params.kv.dtype);
  if (found == nullptr || params.tile_count <= 0) return {};
  return plan(found->prefill, std::int64_t(params.tile_count) * params.heads, device);
}

LaunchPlan plan_attention_decode(const AttentionParams& params, const DeviceShape& device) {
  const Variants* found = find(params.head_dim, params.kv.dtype);
  const std::int64_t units = std::int64_t(params.step.segments) * params.kv_heads * m_tiles(params) * splits(params);
  if (found == nullptr || units <= 0) return {};
  const bool block_each = found->block_decode.kernel != nullptr && units <= resident(found->block_decode, device);
  return plan(block_each ? found->block_decode : found->decode, units, device);
}

}  // namespace splitwiser
