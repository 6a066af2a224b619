// Paged attention, the face of attention*.cu: prefill (many rows of a sequence) and decode (one row), bit for bit the same
// function of a row. Keys are cut at absolute positions into splits of kSplitKeys, splits into leaves of kLeafKeys; leaves
// fold in ascending order into one online-softmax state, closed splits fold left to right.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "launch.hpp"
#include "step_view.hpp"
#include "types.hpp"

namespace splitwiser {

inline constexpr int kSplitKeys = 512;
inline constexpr int kLeafKeys = 64;

// Head dims that have kernels; others are padded with zeros up to the next one (in the cache; 0: none is large enough).
[[nodiscard]] constexpr int padded_head_dim(int head_dim) {
  for (const int dim : {64, 80, 96, 128, 256}) {
    if (head_dim <= dim) return dim;
  }
  return 0;
}

// One layer of the cache. Page p, KV head h, token t: keys + p * page_stride + h * head_stride + t * row, in elements;
// values likewise. Elements of a row beyond head_dim are zero.
struct KvView {
  void* keys;
  void* values;
  std::int64_t page_stride;
  std::int64_t head_stride;   // page_size * row
  std::int32_t row;           // padded_head_dim(head_dim)
  std::int32_t page_size;     // a multiple of 16
  DType dtype;
};

// Work of one prefill CTA: rows of one segment, of one KV head's group or of one query head (the kernel's choice).
struct AttentionTile {
  std::int32_t segment;
  std::int32_t first_row;     // of the segment's rows
};

struct AttentionParams {
  StepView step;
  KvView kv;
  const void* qkv;            // [rows, qkv_cols], dtype: q heads come first
  void* out;                  // [rows, heads * head_dim], dtype
  std::int64_t qkv_cols;
  DType dtype;                // of qkv and out; kv.dtype may differ (q is rounded to it)
  std::int32_t heads, kv_heads, head_dim;
  float scale;                // multiplies q . k
  std::int32_t window;        // keys at positions > row position - window; 0: no window
  float soft_cap;             // s = cap * tanh(s / cap); 0: none
  const float* alibi_slopes;  // [heads] or null
  // prefill: segments of more than one row
  const AttentionTile* tiles;
  std::int32_t tile_count;
  // decode: segments of one row; `max_kv_length` bounds their lengths
  std::int64_t max_kv_length;
  float* partials;            // decode_partial_floats(...) floats of scratch of the lane
  std::uint32_t* arrivals;    // decode_arrivals(...) counters of the lane, zero before and after
};

// Rows of a segment that one AttentionTile covers, for this group size (heads / kv_heads).
[[nodiscard]] int prefill_tile_rows(int heads, int kv_heads, int head_dim, DType kv_dtype);
[[nodiscard]] std::int64_t decode_partial_floats(const AttentionParams& params);
[[nodiscard]] std::int64_t decode_arrivals(const AttentionParams& params);

// Each covers its kind of segments and leaves the other's rows of `out` alone. A step may have both.
[[nodiscard]] LaunchPlan plan_attention_prefill(const AttentionParams& params, const DeviceShape& device);
[[nodiscard]] LaunchPlan plan_attention_decode(const AttentionParams& params, const DeviceShape& device);

}  // namespace splitwiser
