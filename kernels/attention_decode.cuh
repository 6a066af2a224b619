// Decode: segments of one row. A unit of work is (segment, KV head, 16 query heads of its group, split of the keys), and
// every warp has its own; the warp that is the last of a row's splits to finish folds them.
#pragma once

#include "attention_leaf.cuh"

namespace splitwiser::attention {

// The units of a step in order, found from the lengths: segments ascend, so that a warp goes through them once.
class UnitWalk {
 public:
  __device__ __forceinline__ UnitWalk(const AttentionParams& params, int units_per_split, int lane)
      : params_(params), lane_(lane), units_per_split_(units_per_split) {
    segments_ = min(params.step.counts[1], params.step.segments);
    load(0);
  }

  // Goes to a unit, not before the last one. False: there are no more.
  __device__ __forceinline__ bool seek(int unit) {
    while (unit >= base_ + __shfl_sync(0xffffffffu, through_, 31)) {
      if (chunk_ + 32 >= segments_) return false;
      base_ += __shfl_sync(0xffffffffu, through_, 31);
      load(chunk_ + 32);
    }
    const std::uint32_t before = __ballot_sync(0xffffffffu, base_ + through_ <= unit);
    const int owner = __popc(before);  // lanes' sums ascend
    segment = chunk_ + owner;
    length = __shfl_sync(0xffffffffu, length_, owner);
    splits = __shfl_sync(0xffffffffu, splits_, owner);
    const int within = unit - base_ - (__shfl_sync(0xffffffffu, through_, owner) - splits * units_per_split_);
    split = within / units_per_split_;
    part = within % units_per_split_;
    return true;
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
  __device__ __forceinline__ void load(int chunk) {
    chunk_ = chunk;
    const int own = chunk + lane_;
    splits_ = 0;
    length_ = 0;
    if (own < segments_ && params_.step.row_indptr[own + 1] - params_.step.row_indptr[own] == 1) {
      length_ = params_.step.kv_lengths[own];
      splits_ = (length_ + kSplitKeys - 1) / kSplitKeys - first_key(params_, length_) / kSplitKeys;
    }
    through_ = splits_ * units_per_split_;
#pragma unroll
    for (int distance = 1; distance < 32; distance *= 2) {
      const int below = __shfl_up_sync(0xffffffffu, through_, unsigned(distance));
      if (lane_ >= distance) through_ += below;
    }
  }

  const AttentionParams& params_;
  int lane_, units_per_split_, segments_;
  int chunk_ = 0;     // this lane knows segment chunk_ + lane_
  int base_ = 0;      // units before the chunk
  int length_, splits_, through_;
};

// A row's share of one split: [heads of the step's segments][splits], each HeadDim floats of o, then m and l.
template <int HeadDim>
__device__ __forceinline__ float* partial_at(const AttentionParams& params, int segment, int head, int split) {
  const std::int64_t splits = (params.max_kv_length + kSplitKeys - 1) / kSplitKeys;
  const std::int64_t row = std::int64_t(segment) * params.heads + head;
  return params.partials + (row * splits + split) * (HeadDim + kPartialExtra);
}

// Folds the splits of `heads` rows left to right; four columns of a row are one item, items go round the lanes.
template <class Type, int HeadDim>
__device__ __forceinline__ void fold_splits(const AttentionParams& params, int segment, std::int64_t step_row,
                                            int first_head, int heads, int splits, int lane) {
  constexpr int kQuads = HeadDim / 4;
  constexpr int kAhead = 4;  // splits whose loads are in flight together
  const std::int64_t cols = std::int64_t(params.heads) * params.head_dim;
  for (int item = lane; item < heads * kQuads; item += 32) {
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

template <class Type, int HeadDim>
__device__ __forceinline__ void decode(const AttentionParams& params) {
  using Shape = AttentionShape<Element<Type>::kBytes, HeadDim>;
  using Stream = KvStream<Shape, 32, Shape::kDecodeStepKeys, Shape::kDecodeStages>;
  constexpr int kLeavesPerSplit = kSplitKeys / kLeafKeys;

  const int lane = int(threadIdx.x % 32);
  const int warp = int(threadIdx.x / 32);
  const int memory = warp * Shape::kDecodeWarpBytes;

  const int group = params.heads / params.kv_heads;
  const int m_tiles = (group + kFragmentRows - 1) / kFragmentRows;
  Scoring scoring;
  scoring.factor = plain_factor(params);
  Stream stream(params, memory + Shape::kDecodeQueryBytes, lane);

  UnitWalk walk(params, params.kv_heads * m_tiles, lane);
  // Neighbouring units on different multiprocessors: few units use all of them.
  for (int unit = warp * int(gridDim.x) + int(blockIdx.x); walk.seek(unit); unit += int(gridDim.x) * Shape::kDecodeWarps) {
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
    const int query_place = Shape::kDecodeKeepsQuery ? stream.last_stage() : memory;
    fill_queries<Type, Shape>(params, row_at, query_place, lane);
    __syncwarp();
    Query<Shape, Shape::kDecodeKeepsQuery> query;
    query.take(query_place, lane);

    SoftmaxState<HeadDim / 4> state[2];
    state[0].clear();
    state[1].clear();
#pragma unroll 1
    for (int leaf = first_leaf; leaf * kLeafKeys < end; ++leaf) {
      attend_leaf<Type, Shape, HeadDim>(params, stream, query, scoring, leaf, 0, lane, state);
    }
    close_split(state);
    if (walk.splits == 1) {
      // The fold of one split: merging into the empty state changes nothing but the sign of zeros.
      __syncwarp();  // the ring is free
      write_rows<Type>(params, row_at, state, ptx::shared_memory() + memory, 0, lane);
      continue;
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const TileRow row = row_at(lane / 4 + 8 * r);
      if (!row.real) continue;
      float* to = partial_at<HeadDim>(params, walk.segment, row.head, walk.split);
#pragma unroll
      for (int e = 0; e < HeadDim / 4; e += 2) {
        *reinterpret_cast<float2*>(to + column_of<Type>(e, lane)) = make_float2(state[r].o[e], state[r].o[e + 1]);
      }
      if (lane % 4 == 0) *reinterpret_cast<float4*>(to + HeadDim) = make_float4(state[r].m, state[r].l, 0.0f, 0.0f);
    }
    __syncwarp();
    std::uint32_t* arrivals = params.arrivals + (std::int64_t(walk.segment) * params.kv_heads * m_tiles + walk.part);
    std::uint32_t arrived = 0;
    if (lane == 0) arrived = ptx::add_acq_rel(arrivals, 1);
    __syncwarp();
    arrived = __shfl_sync(0xffffffffu, arrived, 0);
    if (arrived + 1 != std::uint32_t(walk.splits)) continue;
    fold_splits<Type, HeadDim>(params, walk.segment, step_row, first_head, heads, walk.splits, lane);
    if (lane == 0) *arrivals = 0;
  }
}

}  // namespace splitwiser::attention
