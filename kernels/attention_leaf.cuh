// One leaf: 16 query rows of a warp against kLeafKeys keys and values. Prefill and decode call this function and no other,
// so that a row's answer does not depend on which of them computed it.
#pragma once

#include "attention_rows.cuh"
#include "attention_stream.cuh"
#include "online_softmax.cuh"
#include "ptx.cuh"

namespace splitwiser::attention {

inline constexpr int kScoreTiles = kLeafKeys / 8;  // C fragments of m16n8: element i of a lane is row i / 2, key i % 2

inline constexpr float kLog2E = 1.44269504088896340736f;

// Positions of rows that nobody reads: they see all keys, so that their tile is not masked for their sake.
inline constexpr int kNoPosition = 0x3fffffff;

// How a product q . k becomes a score in units of log2, and which keys a row sees: those of the last `window` positions up
// to its own. Without ALiBi and soft cap the factor enters with the exponent, as one fma; else scores are in these units
// before the maximum is taken:
//   score = (soft_cap * tanh(scale * product / soft_cap), or scale * product without a cap) + slope * (key - position)
struct Scoring {
  float factor;      // of the exponent's fma and the maximum; above 0
  int positions[2];  // of the lane's rows
  float slopes[2];
};

__device__ __forceinline__ bool plain_scores(const AttentionParams& params) {
  return !(params.soft_cap > 0.0f) && params.alibi_slopes == nullptr && params.scale > 0.0f;
}
__device__ __forceinline__ float plain_factor(const AttentionParams& params) {
  return plain_scores(params) ? __fmul_rn(params.scale, kLog2E) : 1.0f;
}
__device__ __forceinline__ int window_of(const AttentionParams& params) {
  return params.window > 0 ? params.window : 0x40000000;
}

// tanh(x) = 1 - 2 / (e^2x + 1); exact at 0 and from 20 on, absolute error about 2^-22.
__device__ __forceinline__ float tanh_of(float x) {
  const float power = ptx::exp2_approx(__fmul_rn(fminf(fmaxf(x, -20.0f), 20.0f), 2.0f * kLog2E));
  return __fmaf_rn(-2.0f, reciprocal(__fadd_rn(power, 1.0f)), 1.0f);
}

__device__ __forceinline__ float slope_of(const AttentionParams& params, const TileRow& row) {
  return row.real && params.alibi_slopes != nullptr ? __fmul_rn(params.alibi_slopes[row.head], kLog2E) : 0.0f;
}

// ---- products of queries and keys ---------------------------------------------------------------

// Scores of 8 * Tiles keys: the sum over dims ascends in steps of 16 (mma) or one by one (f32).
template <class Type, class Shape, int Tiles, class Queries>
__device__ __forceinline__ void multiply_keys(const Queries& query, int place, int lane,
                                              float (*scores)[4]) {
  if constexpr (Shape::kHalf) {
    const int from = place + matrix_lane<Shape>(lane);
#pragma unroll
    for (int k = 0; k < Shape::kHeadDim / 16; ++k) {
      std::uint32_t a[4];
      query.fragment(k, a);
      const char* at = ptx::shared_memory() + piece_pair<Shape>(from, k);
#pragma unroll
      for (int t = 0; t < Tiles; t += 2) {
        std::uint32_t b[4];  // keys 0 .. 7 and 8 .. 15 at dims 0 .. 7, then at dims 8 .. 15
        ptx::ldmatrix_x4(b, at + t * 8 * Shape::kRowBytes);
        const std::uint32_t low[2] = {b[0], b[2]};
        const std::uint32_t high[2] = {b[1], b[3]};
        ptx::mma_m16n8k16(Type{}, scores[t], a, low);
        ptx::mma_m16n8k16(Type{}, scores[t + 1], a, high);
      }
    }
  } else {
#pragma unroll 1
    for (int piece = 0; piece < Shape::kPieces; ++piece) {
      const float4 q0 = query.quad(0, piece);
      const float4 q1 = query.quad(1, piece);
#pragma unroll
      for (int t = 0; t < Tiles; ++t) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const int row = t * 8 + (lane & 3) * 2 + i;
          const float4 k = *reinterpret_cast<const float4*>(ptx::shared_memory() + place + piece_at<Shape>(row, piece));
          float& s0 = scores[t][i];
          float& s1 = scores[t][2 + i];
          s0 = __fmaf_rn(q0.w, k.w, __fmaf_rn(q0.z, k.z, __fmaf_rn(q0.y, k.y, __fmaf_rn(q0.x, k.x, s0))));
          s1 = __fmaf_rn(q1.w, k.w, __fmaf_rn(q1.z, k.z, __fmaf_rn(q1.y, k.y, __fmaf_rn(q1.x, k.x, s1))));
        }
      }
    }
  }
}

// ---- products of weights and values -------------------------------------------------------------

// Adds 8 * Tiles keys' share to the outputs: keys ascend in steps of 16 (mma) or one by one (f32).
template <class Type, class Shape, int Dims, int Tiles>
__device__ __forceinline__ void add_values(int place, int lane, int first_dim, const float (*weights)[4],
                                           SoftmaxState<Dims / 4> (&state)[2]) {
  if constexpr (Shape::kHalf) {
    constexpr bool kWholeSpans = Dims % 64 == 0;  // of 128 bytes, within which pieces are turned
    const int from = place + matrix_lane<Shape>(lane) + (kWholeSpans ? first_dim * 2 : 0);
    const int first_pair = kWholeSpans ? 0 : first_dim / 16;
#pragma unroll
    for (int k = 0; k < Tiles / 2; ++k) {
      const float* even = weights[2 * k];
      const float* odd = weights[2 * k + 1];
      const std::uint32_t a[4] = {ptx::narrow_pair(Type{}, even[0], even[1]), ptx::narrow_pair(Type{}, even[2], even[3]),
                                  ptx::narrow_pair(Type{}, odd[0], odd[1]), ptx::narrow_pair(Type{}, odd[2], odd[3])};
#pragma unroll
      for (int t = 0; t < Dims / 8; t += 2) {
        std::uint32_t b[4];  // dims 0 .. 7 at keys 0 .. 7 and 8 .. 15, then dims 8 .. 15
        ptx::ldmatrix_x4_trans(b, ptx::shared_memory() + piece_pair<Shape>(from, first_pair + t / 2) + k * 16 * Shape::kRowBytes);
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const std::uint32_t pair[2] = {b[2 * i], b[2 * i + 1]};
          const int e = 2 * (t + i);
          float d[4] = {state[0].o[e], state[0].o[e + 1], state[1].o[e], state[1].o[e + 1]};
          ptx::mma_m16n8k16(Type{}, d, a, pair);
          state[0].o[e] = d[0];
          state[0].o[e + 1] = d[1];
          state[1].o[e] = d[2];
          state[1].o[e + 1] = d[3];
        }
      }
    }
  } else {
#pragma unroll
    for (int t = 0; t < Tiles; ++t) {
#pragma unroll 1
      for (int quarter = 0; quarter < 4; ++quarter) {
        const int owner = (lane & ~3) | quarter;
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const float p0 = __shfl_sync(kAllLanes, weights[t][i], owner);
          const float p1 = __shfl_sync(kAllLanes, weights[t][2 + i], owner);
          const int row = t * 8 + quarter * 2 + i;
#pragma unroll
          for (int e = 0; e < Dims / 4; e += 4) {
            const int piece = first_dim / 4 + e + (lane & 3);
            const float4 v = *reinterpret_cast<const float4*>(ptx::shared_memory() + place + piece_at<Shape>(row, piece));
            state[0].o[e] = __fmaf_rn(p0, v.x, state[0].o[e]);
            state[0].o[e + 1] = __fmaf_rn(p0, v.y, state[0].o[e + 1]);
            state[0].o[e + 2] = __fmaf_rn(p0, v.z, state[0].o[e + 2]);
            state[0].o[e + 3] = __fmaf_rn(p0, v.w, state[0].o[e + 3]);
            state[1].o[e] = __fmaf_rn(p1, v.x, state[1].o[e]);
            state[1].o[e + 1] = __fmaf_rn(p1, v.y, state[1].o[e + 1]);
            state[1].o[e + 2] = __fmaf_rn(p1, v.z, state[1].o[e + 2]);
            state[1].o[e + 3] = __fmaf_rn(p1, v.w, state[1].o[e + 3]);
          }
        }
      }
    }
  }
}

// ---- scores -------------------------------------------------------------------------------------

__device__ __forceinline__ void transform_scores(const AttentionParams& params, const Scoring& scoring, int first_key,
                                                 float (&scores)[kScoreTiles][4]) {
  float factor = __fmul_rn(params.scale, kLog2E);
  if (params.soft_cap > 0.0f) {
    const float inner = __fmul_rn(params.scale, reciprocal(params.soft_cap));
    factor = __fmul_rn(params.soft_cap, kLog2E);
#pragma unroll
    for (int t = 0; t < kScoreTiles; ++t) {
#pragma unroll
      for (int i = 0; i < 4; ++i) scores[t][i] = tanh_of(__fmul_rn(scores[t][i], inner));
    }
  }
#pragma unroll
  for (int t = 0; t < kScoreTiles; ++t) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int key = first_key + t * 8 + i % 2;
      const float bias = __fmul_rn(scoring.slopes[i / 2], float(key - scoring.positions[i / 2]));
      scores[t][i] = __fmaf_rn(scores[t][i], factor, bias);
    }
  }
}

// A row at `position` sees key if 0 <= position - key < window.
__device__ __forceinline__ void mask_scores(int window, const Scoring& scoring, int first_key,
                                            float (&scores)[kScoreTiles][4]) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int distance = scoring.positions[i / 2] - first_key - i % 2;
#pragma unroll
    for (int t = 0; t < kScoreTiles; ++t) {
      if (unsigned(distance - t * 8) >= unsigned(window)) scores[t][i] = -INFINITY;
    }
  }
}

// Whether a row sees all keys of a leaf.
__device__ __forceinline__ bool sees_leaf(int window, int position, int leaf) {
  const int distance = position - leaf * kLeafKeys;
  return distance >= kLeafKeys - 1 && distance < window;
}

// Turns a row's scores into weights relative to the new maximum and moves the state there. `l` is this lane's part of the
// sum until the split is closed.
template <int R, int Columns>
__device__ __forceinline__ void weigh(float factor, float (&scores)[kScoreTiles][4], SoftmaxState<Columns>& state) {
  float top = fmaxf(scores[0][2 * R], scores[0][2 * R + 1]);
#pragma unroll
  for (int t = 1; t < kScoreTiles; ++t) top = fmaxf(top, fmaxf(scores[t][2 * R], scores[t][2 * R + 1]));
  top = fmaxf(top, __shfl_xor_sync(kAllLanes, top, 1));
  top = fmaxf(top, __shfl_xor_sync(kAllLanes, top, 2));
  const float m = fmaxf(state.m, __fmul_rn(top, factor));
  const float base = exponent_base(m);
  const float keep = ptx::exp2_approx(__fsub_rn(state.m, base));
  float even = 0.0f;
  float odd = 0.0f;
#pragma unroll
  for (int t = 0; t < kScoreTiles; ++t) {
    float& low = scores[t][2 * R];
    float& high = scores[t][2 * R + 1];
    low = ptx::exp2_approx(__fmaf_rn(low, factor, -base));
    high = ptx::exp2_approx(__fmaf_rn(high, factor, -base));
    even = __fadd_rn(even, low);
    odd = __fadd_rn(odd, high);
  }
  state.m = m;
  state.l = __fmaf_rn(state.l, keep, __fadd_rn(even, odd));
#pragma unroll
  for (int c = 0; c < Columns; ++c) state.o[c] = __fmul_rn(state.o[c], keep);
}

// ---- the leaf -----------------------------------------------------------------------------------

// Shared: the warps of a block, which have the same rows, each score their part of the keys and hand it to the others at
// `exchange`, a leaf's scores in f32.
template <class Type, class Shape, int Dims, bool Shared, class Stream, class Queries>
__device__ __forceinline__ void attend_leaf(const AttentionParams& params, Stream& stream, const Queries& query,
                                            const Scoring& scoring, int leaf, int first_dim, int lane,
                                            SoftmaxState<Dims / 4> (&state)[2], int exchange = 0) {
  constexpr int kTiles = kScoreTiles / Stream::kKeySteps;
  float scores[kScoreTiles][4];
#pragma unroll
  for (int t = 0; t < kScoreTiles; ++t) {
#pragma unroll
    for (int i = 0; i < 4; ++i) scores[t][i] = 0.0f;
  }
  if constexpr (Shared) {
    static_assert(Stream::kKeySteps == 1);
    constexpr int kParts = Shape::kHeadDim / Dims, kOwn = kScoreTiles / kParts;
    const int part = first_dim / Dims;
    multiply_keys<Type, Shape, kOwn>(query, stream.step(0) + part * kOwn * 8 * Shape::kRowBytes, lane, scores);
    float4* const all = reinterpret_cast<float4*>(ptx::shared_memory() + exchange) + lane;
#pragma unroll
    for (int t = 0; t < kOwn; ++t) {
      all[(part * kOwn + t) * 32] = make_float4(scores[t][0], scores[t][1], scores[t][2], scores[t][3]);
    }
    __syncthreads();  // the next step's barrier parts this leaf's readers from the next one's writers
#pragma unroll
    for (int t = 0; t < kScoreTiles; ++t) {
      const float4 from = all[t * 32];
      scores[t][0] = from.x, scores[t][1] = from.y, scores[t][2] = from.z, scores[t][3] = from.w;
    }
  } else {
#pragma unroll
    for (int i = 0; i < Stream::kKeySteps; ++i) {
      multiply_keys<Type, Shape, kTiles>(query, stream.step(i), lane, scores + i * kTiles);
    }
  }
  const int first_key = leaf * kLeafKeys + (lane & 3) * 2;  // of this lane's scores
  if (!plain_scores(params)) transform_scores(params, scoring, first_key, scores);
  const int window = window_of(params);
  const bool all = sees_leaf(window, scoring.positions[0], leaf) && sees_leaf(window, scoring.positions[1], leaf);
  if (!__all_sync(kAllLanes, all)) mask_scores(window, scoring, first_key, scores);
  weigh<0>(scoring.factor, scores, state[0]);
  weigh<1>(scoring.factor, scores, state[1]);
#pragma unroll
  for (int i = 0; i < Stream::kKeySteps; ++i) {
    add_values<Type, Shape, Dims, kTiles>(stream.step(Stream::kKeySteps + i), lane, first_dim, scores + i * kTiles, state);
  }
}

// The last step of a split: the sums of the four lanes of a row become one.
template <int Columns>
__device__ __forceinline__ void close_split(SoftmaxState<Columns> (&state)[2]) {
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    state[r].l = __fadd_rn(state[r].l, __shfl_xor_sync(kAllLanes, state[r].l, 1));
    state[r].l = __fadd_rn(state[r].l, __shfl_xor_sync(kAllLanes, state[r].l, 2));
  }
}

}  // namespace splitwiser::attention
