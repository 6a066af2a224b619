// Decode: segments of one row. A unit of work is (segment, KV head, 16 query heads of its group, split of the keys), and
// a warp, or where DecodeShape says so a block, has its own; who is the last of a row's splits to finish folds them.
#pragma once

#include "attention_leaf.cuh"

namespace splitwiser::attention {

// The units of a step in order, found from the lengths: segments ascend, so that a warp goes through them once. What lanes
// know of 32 segments is read anew for every unit, so that it takes no registers during the unit.
class UnitWalk {
 public:
  __device__ __forceinline__ UnitWalk(const AttentionParams& params, int units_per_split, int lane)
      : params_(params), lane_(lane), units_per_split_(units_per_split) {}

  // Goes to a unit, not before the last one. False: there are no more.
  __device__ __forceinline__ bool seek(int unit) {
    const int segments = min(params_.step.counts[1], params_.step.segments);
    for (;;) {
      const int own = chunk_ + lane_;
      int own_length = 0;
      int own_splits = 0;
      if (own < segments && params_.step.row_indptr[own + 1] - params_.step.row_indptr[own] == 1) {
        own_length = params_.step.kv_lengths[own];
        own_splits = (own_length + kSplitKeys - 1) / kSplitKeys - first_key(params_, own_length) / kSplitKeys;
      }
      int through = own_splits * units_per_split_;
#pragma unroll
      for (int distance = 1; distance < 32; distance *= 2) {
        const int below = __shfl_up_sync(kAllLanes, through, unsigned(distance));
        if (lane_ >= distance) through += below;
      }
      const int all = __shfl_sync(kAllLanes, through, 31);
      if (unit - base_ < all) {
        const int owner = __popc(__ballot_sync(kAllLanes, through <= unit - base_));  // lanes' sums ascend
        segment = chunk_ + owner;
        length = __shfl_sync(kAllLanes, own_length, owner);
        splits = __shfl_sync(kAllLanes, own_splits, owner);
        const int within = unit - base_ - (__shfl_sync(kAllLanes, through, owner) - splits * units_per_split_);
        split = within / units_per_split_;
        part = within % units_per_split_;
        return true;
      }
      if (chunk_ + 32 >= segments) return false;
      base_ += all;
      chunk_ += 32;
    }
  }

  int segment, length;
  int splits;         // that hold visible keys
  int split;          // of these
  int part;           // of the KV heads and their M tiles

  // The first visible key of a row at the end of `length` tokens.
  __device__ __forceinline__ static int first_key(const AttentionParams& params, int length) {
    return params.window > 0 ? max(0, length - params.window) : 0;
  }

 private:
  const AttentionParams& params_;
  int lane_, units_per_split_;
  int chunk_ = 0;     // the first of 32 segments
  int base_ = 0;      // units before them
};

// A row's share of one split: [heads of the step's segments][splits], each HeadDim floats of o, then m and l.
template <int HeadDim>
__device__ __forceinline__ float* partial_at(const AttentionParams& params, int segment, int head, int split) {
  const std::int64_t splits = (params.max_kv_length + kSplitKeys - 1) / kSplitKeys;
  const std::int64_t row = std::int64_t(segment) * params.heads + head;
  return params.partials + (row * splits + split) * (HeadDim + kPartialExtra);
}

// Folds the splits of `heads` rows left to right; four columns of a row are one item, items go round the threads.
template <class Type, int HeadDim>
__device__ __forceinline__ void fold_splits(const AttentionParams& params, int segment, std::int64_t step_row,
                                            int first_head, int heads, int splits, int thread, int threads) {
  constexpr int kQuads = HeadDim / 4;
  // Splits whose loads are in flight together. The last load is repeated where their number is odd: a branch around it
  // spills registers, and four at a time would read two splits twice.
  constexpr int kAhead = 2;
  const std::int64_t cols = std::int64_t(params.heads) * params.head_dim;
  for (int item = thread; item < heads * kQuads; item += threads) {
    const int head = first_head + item / kQuads;
    const int column = item % kQuads * 4;
    const float* from = partial_at<HeadDim>(params, segment, head, 0);
    SoftmaxState<4> folded;
    folded.clear();
    for (int split = 0; split < splits; split += kAhead) {
      float4 o[kAhead];
      float4 sums[kAhead];
#pragma unroll
      for (int i = 0; i < kAhead; ++i) {
        const float* at = from + min(split + i, splits - 1) * (HeadDim + kPartialExtra);
        o[i] = ptx::load_cg_16(at + column);
        sums[i] = ptx::load_cg_16(at + HeadDim);
      }
#pragma unroll
      for (int i = 0; i < kAhead; ++i) {
        if (split + i >= splits) break;
        merge(folded, SoftmaxState<4>{sums[i].x, sums[i].y, {o[i].x, o[i].y, o[i].z, o[i].w}});
      }
    }
    const float inverse = inverse_sum(folded.l);
    const std::int64_t at = step_row * cols + std::int64_t(head) * params.head_dim + column;
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      if (column + c < params.head_dim) write_number(params.out, params.dtype, at + c, finished(folded.o[c], inverse));
    }
  }
}

template <class Type, int HeadDim, bool Block>
__device__ __forceinline__ void decode(const AttentionParams& params) {
  using Shape = AttentionShape<Element<Type>::kBytes, HeadDim>;
  using Tiling = DecodeShape<Shape, Block>;
  using Stream = KvStream<Shape, Tiling::kUnitThreads, Tiling::kStepKeys, Tiling::kStages>;
  constexpr int kThreads = Tiling::kUnitThreads;
  constexpr int kDims = Tiling::kWarpDims;
  constexpr int kLeavesPerSplit = kSplitKeys / kLeafKeys;

  const int lane = int(threadIdx.x % 32);
  const int thread = int(threadIdx.x % kThreads);
  const int slot = int(threadIdx.x / kThreads);    // of the block's units
  const int dim_part = int(threadIdx.x / 32 % Tiling::kDimParts);
  const int memory = slot * Tiling::kUnitBytes;

  const int group = params.heads / params.kv_heads;
  const int m_tiles = (group + kFragmentRows - 1) / kFragmentRows;
  Scoring scoring;
  scoring.factor = plain_factor(params);
  Stream stream(params, memory + Tiling::kQueryBytes + Tiling::kScoreBytes, thread);

  UnitWalk walk(params, params.kv_heads * m_tiles, lane);
  // Neighbouring units on different multiprocessors: few units use all of them.
  for (int unit = slot * int(gridDim.x) + int(blockIdx.x); walk.seek(unit); unit += int(gridDim.x) * Tiling::kUnits) {
    const int kv_head = walk.part / m_tiles;
    const int first_in_group = walk.part % m_tiles * kFragmentRows;
    const int first_head = kv_head * group + first_in_group;
    const int heads = min(group - first_in_group, kFragmentRows);
    const std::int64_t step_row = params.step.row_indptr[walk.segment];
    const int begin = UnitWalk::first_key(params, walk.length);
    const auto row_at = [&](int r) { return TileRow{r < heads, first_head + r, step_row}; };
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const TileRow row = row_at(lane / 4 + 8 * r);
      scoring.positions[r] = row.real ? walk.length - 1 : kNoPosition;
      scoring.slopes[r] = slope_of(params, row);
    }

    const int split = begin / kSplitKeys + walk.split;
    const int first_leaf = max(begin / kLeafKeys, split * kLeavesPerSplit);
    const int end = min(walk.length, (split + 1) * kSplitKeys);
    stream.start(walk.segment, kv_head, begin, end, first_leaf);
    const int query_place = Tiling::kKeepsQuery ? stream.last_stage() : memory;
    if (dim_part == 0) fill_queries<Type, Shape>(params, row_at, query_place, lane);
    sync_threads<kThreads>();
    Query<Shape, Tiling::kKeepsQuery> query;
    query.take(query_place, lane);

    SoftmaxState<kDims / 4> state[2];
    state[0].clear();
    state[1].clear();
#pragma unroll 1
    for (int leaf = first_leaf; leaf * kLeafKeys < end; ++leaf) {
      attend_leaf<Type, Shape, kDims, Block>(params, stream, query, scoring, leaf, dim_part * kDims, lane, state, memory);
    }
    close_split(state);
    if (walk.splits == 1) {
      // The fold of one split: merging into the empty state changes nothing but the sign of zeros.
      sync_threads<kThreads>();  // the ring is free
      write_rows<Type>(params, row_at, state, ptx::shared_memory() + memory + dim_part * Tiling::kOutputBytes, dim_part * kDims,
                       lane);
      continue;
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const TileRow row = row_at(lane / 4 + 8 * r);
      if (!row.real) continue;
      float* to = partial_at<HeadDim>(params, walk.segment, row.head, walk.split);
#pragma unroll
      for (int e = 0; e < kDims / 4; e += 2) {
        *reinterpret_cast<float2*>(to + dim_part * kDims + column_of<Type>(e, lane)) =
            make_float2(state[r].o[e], state[r].o[e + 1]);
      }
      if (dim_part == 0 && lane % 4 == 0) {
        *reinterpret_cast<float4*>(to + HeadDim) = make_float4(state[r].m, state[r].l, 0.0f, 0.0f);
      }
    }
    std::uint32_t* arrivals = params.arrivals + (std::int64_t(walk.segment) * params.kv_heads * m_tiles + walk.part);
    std::uint32_t* told = reinterpret_cast<std::uint32_t*>(ptx::shared_memory() + memory);  // the ring and the queries are free
    sync_threads<kThreads>();
    if (thread == 0) *told = ptx::add_acq_rel(arrivals, 1);
    sync_threads<kThreads>();
    if (*told + 1 != std::uint32_t(walk.splits)) continue;
    fold_splits<Type, HeadDim>(params, walk.segment, step_row, first_head, heads, walk.splits, thread, kThreads);
    if (thread == 0) *arrivals = 0;
  }
}

}  // namespace splitwiser::attention
