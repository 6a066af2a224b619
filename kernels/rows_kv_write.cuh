// The write of keys and values to the paged cache, with rotary.
//
// A lane takes one slice of a head for kHeadsPerLane heads in a row, so that an angle's sine and cosine serve several heads.
// Slices of a head, in order: eight pairs that turn each (halves: elements 8i and dims/2 + 8i on; pairs: elements 16i on),
// then eight elements each of what does not turn, up to the cache's padded row.
#pragma once

#include "rows.cuh"
#include "rows.hpp"
#include "rows_rotary.cuh"

namespace splitwiser::rows {

inline constexpr int kHeadsPerLane = 4;

template <typename T, typename Cached>
__device__ __forceinline__ void kv_write_body(const KvWriteParams& params) {
  using Bits = typename Stored<T>::Type;
  using CachedBits = typename Stored<Cached>::Type;
  const StepView& step = params.step;
  const KvView& kv = params.kv;
  const int dim = params.head_dim;
  const int turning = params.rotary == RotaryForm::none ? 0 : params.rotary_dims;
  const int pairs = turning / 2;
  const bool halves = params.rotary == RotaryForm::halves;
  const int turn_slices = (pairs + kEight - 1) / kEight;
  const int slices = turn_slices + (kv.row - turning + kEight - 1) / kEight;
  const int first_head = turning > 0 ? 0 : params.heads;  // q stays as it is where nothing turns
  const int all_heads = params.heads + 2 * params.kv_heads;
  const int groups = (all_heads - first_head + kHeadsPerLane - 1) / kHeadsPerLane;
  const bool wide_in = (params.qkv_cols | dim) % kEight == 0 && aligned_16(params.qkv);
  const bool wide_out = kv.row % kEight == 0 && aligned_16(kv.keys) && aligned_16(kv.values);
  const bool wide_turn = (halves ? pairs : turning) % kEight == 0;
  const bool wide_rest = turning % kEight == 0;

  const std::int64_t rows = smaller(step.counts[0], step.rows);
  each_item(rows, std::int64_t(groups) * slices, [&](std::int64_t row, std::int64_t item) {
    const int group = int(std::uint32_t(item) / std::uint32_t(slices));
    const int slice = int(item) - group * slices;
    const bool turns = slice < turn_slices;
    const std::int32_t position = step.positions[row];
    const std::int32_t page_of_segment = position / kv.page_size;
    const std::int64_t page = step.page_indices[step.page_indptr[step.row_segments[row]] + page_of_segment];
    const std::int64_t token_at = page * kv.page_stride + std::int64_t(position - page_of_segment * kv.page_size) * kv.row;

    Turn turn[kEight];
    const int first_pair = slice * kEight;
    if (turns) {
#pragma unroll
      for (int i = 0; i < kEight; i++) {
        if (first_pair + i < pairs) turn[i] = turn_of(float(position), params.inverse_frequencies[first_pair + i]);
      }
    }
    // Where the slice's two vectors begin in a head, and how much of them there is; only the first where nothing turns.
    const int at = !turns ? turning + (slice - turn_slices) * kEight : halves ? first_pair : 2 * first_pair;
    const int next = halves ? pairs + at : at + kEight;
    const int valid_pairs = pairs - first_pair;
    const int valid = !turns ? dim - at : halves ? valid_pairs : 2 * valid_pairs;
    const int valid_next = halves ? valid_pairs : 2 * valid_pairs - kEight;
    const int stored = turns ? valid : kv.row - at;
    const bool wide = turns ? wide_turn : wide_rest;

    const int first = first_head + group * kHeadsPerLane;
    for (int head = first; head < first + kHeadsPerLane && head < all_heads; head++) {
      const bool is_q = head < params.heads, is_v = head >= params.heads + params.kv_heads;
      if (is_q && !turns) continue;
      Bits* in = static_cast<Bits*>(params.qkv) + row * params.qkv_cols + std::int64_t(head) * dim;
      Eight a = load_eight<T, false>(in + at, valid, wide && wide_in), b{};
      if (turns) {
        b = load_eight<T, false>(in + next, valid_next, wide && wide_in);
        if (!is_v) {
          if (halves) {
#pragma unroll
            for (int i = 0; i < kEight; i++) {
              if (i < valid_pairs) turn_pair(turn[i], a.v[i], b.v[i]);
            }
          } else {
#pragma unroll
            for (int i = 0; i < kEight; i++) {
              Eight& half = i < 4 ? a : b;
              if (i < valid_pairs) turn_pair(turn[i], half.v[2 * (i % 4)], half.v[2 * (i % 4) + 1]);
            }
          }
        }
      }
      if (is_q) {
        store_eight<T>(in + at, a, valid, wide && wide_in);
        store_eight<T>(in + next, b, valid_next, wide && wide_in);
        continue;
      }
      const std::int64_t kv_head = is_v ? head - params.heads - params.kv_heads : head - params.heads;
      CachedBits* out = static_cast<CachedBits*>(is_v ? kv.values : kv.keys) + token_at + kv_head * kv.head_stride;
      store_eight<Cached>(out + at, a, stored, wide && wide_out);
      if (turns) store_eight<Cached>(out + next, b, valid_next, wide && wide_out);
    }
  });
}

}  // namespace splitwiser::rows
