// How attention is cut into tasks.
#include <algorithm>

#include "backend/cpu/ops.hpp"
#include "support/error.hpp"

namespace splitwiser::cpu {
namespace {

constexpr std::int64_t kTasksPerThread = 4;
constexpr std::int64_t kTileRows = 6;  // rows that share their loads of keys

}  // namespace

// Rows of a segment in blocks, for every KV head; the last rows have the most keys and come first.
void CpuOps::add_items(std::size_t segment, const AttentionSpec& spec, std::int64_t rows, std::int64_t block) {
  const std::int64_t blocks = ceil_div(rows, block);
  for (std::int64_t b = blocks - 1; b >= 0; --b) {
    for (int head = 0; head < spec.kv_heads; ++head) {
      items_.push_back({segment, {head, rows * b / blocks, rows * (b + 1) / blocks, -1, nullptr}});
    }
  }
}

void CpuOps::plan_attention(const StepInput& in, const AttentionSpec& spec, int padded_dim) {
  const std::int64_t group = spec.heads / spec.kv_heads;
  const std::int64_t wanted = kTasksPerThread * team_.threads();
  const std::int64_t fair = in.rows() * group * spec.kv_heads / wanted / kTileRows * kTileRows;
  const std::int64_t block = std::clamp<std::int64_t>(fair, kTileRows, kMaxAttentionRows);
  items_.clear();
  split_items_.clear();
  for (std::size_t s = 0; s < segments_.size(); ++s) {
    add_items(s, spec, (in.row_indptr[s + 1] - in.row_indptr[s]) * group, block);
  }
  // Too few for the threads (decode of few sequences with few heads): one task a split of the keys, merged
  // afterwards. The states are the same.
  if (std::int64_t(items_.size()) >= wanted || team_.threads() == 1) return;
  std::size_t floats = 0;
  const auto splits_of = [&](const AttentionItem& item) {
    return ceil_div(segments_[item.segment].length(item.task.row_end - 1), kSplit);
  };
  for (const AttentionItem& item : items_) {
    if (splits_of(item) == 1) continue;
    const auto rows = item.task.row_end - item.task.row_begin;
    floats += std::size_t(splits_of(item) * rows * partial_stride(padded_dim));
  }
  if (floats == 0) return;
  if (partials_.bytes() < floats * sizeof(float)) {
    partials_ = MemoryRegion();
    partials_ = MemoryRegion(floats * sizeof(float), "partial states of attention");
  }
  float* partial = reinterpret_cast<float*>(partials_.data());
  for (AttentionItem& item : items_) {
    const std::int64_t splits = splits_of(item);
    if (splits == 1) continue;
    item.task.partial = partial;  // marks an item whose splits are computed apart
    const std::int64_t stride = (item.task.row_end - item.task.row_begin) * partial_stride(padded_dim);
    for (std::int64_t split = 0; split < splits; ++split, partial += stride) {
      split_items_.push_back(item);
      split_items_.back().task.split = split;
      split_items_.back().task.partial = partial;
    }
  }
}

void CpuOps::attention(const StepInput& in, const KvPool& pool, int layer, const AttentionSpec& spec, Tensor qkv,
                       Tensor out) {
  const bool fits = in.rows() <= qkv.rows && in.rows() <= out.rows && spec.heads % spec.kv_heads == 0 &&
                    qkv.cols == std::int64_t(spec.heads + 2 * spec.kv_heads) * spec.head_dim &&
                    out.cols == std::int64_t(spec.heads) * spec.head_dim;
  if (!fits) throw Error(ErrorCode::internal, "attention: the shapes of its tensors do not fit together");
  const KvLayer kv = static_cast<const CpuKvPool&>(pool).layer(layer);
  segments_.clear();
  for (std::int64_t s = 0; s < in.segments(); ++s) {
    const std::int64_t first = in.row_indptr[std::size_t(s)];
    AttentionArgs args{};
    args.kv = kv;
    args.pages = in.page_indices.data() + in.page_indptr[std::size_t(s)];
    args.kv_length = in.kv_length(s);
    args.first_position = in.positions[std::size_t(first)];
    args.group = spec.heads / spec.kv_heads;
    args.scale = spec.scale;
    args.q = static_cast<const float*>(qkv.data) + first * qkv.cols;
    args.q_stride = qkv.cols;
    args.out = static_cast<float*>(out.data) + first * out.cols;
    args.out_stride = out.cols;
    segments_.push_back(args);
  }
  plan_attention(in, spec, kv.padded_dim);

  // Splits first, then the items that need none; then the splits' states are merged.
  const auto splits = std::int64_t(split_items_.size());
  team_.parallel(phase_, splits + std::int64_t(items_.size()), [&](std::int64_t chunk, float* scratch) {
    const AttentionItem& item = chunk < splits ? split_items_[std::size_t(chunk)] : items_[std::size_t(chunk - splits)];
    if (chunk >= splits && item.task.partial != nullptr) return;
    kernels_.attention(segments_[item.segment], item.task, scratch);
  });
  if (splits == 0) return;
  team_.parallel(phase_, std::int64_t(items_.size()), [&](std::int64_t chunk, float* scratch) {
    const AttentionItem& item = items_[std::size_t(chunk)];
    if (item.task.partial == nullptr) return;
    kernels_.merge_splits(segments_[item.segment], item.task, item.task.partial, scratch);
  });
}

}  // namespace splitwiser::cpu
