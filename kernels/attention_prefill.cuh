// Prefill: segments of more than one row. The rows of a KV head's group of query heads, token by token, are packed into
// tiles of kPrefillRows; a block walks one tile's keys, 16 rows a warp.
#pragma once

#include "attention_leaf.cuh"

namespace splitwiser::attention {

// A tile of kPrefillRows tokens is `group` units for each KV head. The last rows have the most keys and come first.
// Cheap to make: it is made again after the walk over the keys, so that it takes no registers meanwhile.
template <int Rows>
struct PrefillUnit {
  int segment, kv_head, group;
  int first_packed;       // of the tile's tokens x group
  int tokens;             // of the tile
  int first_position;     // of the tile's first token
  std::int64_t first_row; // of the tile, in the step

  __device__ __forceinline__ PrefillUnit(const AttentionParams& params, int unit, int heads) {
    const AttentionTile tile = params.tiles[params.tile_count - 1 - unit / params.heads];
    const int head = unit % params.heads;
    group = heads / params.kv_heads;
    segment = tile.segment;
    kv_head = head / group;
    first_packed = head % group * Rows;
    const int begin = params.step.row_indptr[segment];
    const int rows = params.step.row_indptr[segment + 1] - begin;
    tokens = min(rows - tile.first_row, Rows);
    first_position = params.step.kv_lengths[segment] - rows + tile.first_row;
    first_row = std::int64_t(begin) + tile.first_row;
  }
  __device__ __forceinline__ bool empty() const { return first_packed >= tokens * group; }
  __device__ __forceinline__ int token_of(int row) const { return (first_packed + row) / group; }
  // Of the unit's rows.
  __device__ __forceinline__ TileRow row_at(int row) const {
    const int token = token_of(row);
    return {token < tokens, kv_head * group + (first_packed + row - token * group), first_row + token};
  }
  // Keys that some row sees: [begin, end).
  __device__ __forceinline__ int begin(int window) const {
    return window > 0 ? max(0, first_position + token_of(0) - window + 1) : 0;
  }
  __device__ __forceinline__ int end() const { return first_position + min(token_of(Rows - 1), tokens - 1) + 1; }
};

template <class Type, int HeadDim>
__device__ __forceinline__ void prefill(const AttentionParams& params) {
  using Shape = AttentionShape<Element<Type>::kBytes, HeadDim>;
  using Stream = KvStream<Shape, Shape::kPrefillThreads, Shape::kPrefillStepKeys, Shape::kPrefillStages>;
  using Unit = PrefillUnit<Shape::kPrefillRows>;
  constexpr int kDims = Shape::kWarpDims;
  constexpr int kLeavesPerSplit = kSplitKeys / kLeafKeys;

  const int thread = int(threadIdx.x);
  const int lane = int(threadIdx.x % 32);
  const int warp = int(threadIdx.x / 32);
  const int row_group = warp / Shape::kDimParts;
  const int dim_part = warp % Shape::kDimParts;
  Stream stream(params, Shape::kPrefillQueryBytes, thread);
  Scoring scoring;
  scoring.factor = plain_factor(params);

  const int units = params.tile_count * params.heads;
  for (int index = int(blockIdx.x); index < units; index += int(gridDim.x)) {
    const Unit unit(params, index, params.heads);
    if (unit.empty()) continue;
    const int begin = unit.begin(params.window);
    const int end = unit.end();
    stream.start(unit.segment, unit.kv_head, begin, end, begin / kLeafKeys);

    const auto row_at = [&](int r) { return unit.row_at(row_group * kFragmentRows + r); };
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const TileRow row = row_at(renewed(lane) / 4 + 8 * r);
      scoring.positions[r] = row.real ? unit.first_position + int(row.row - unit.first_row) : kNoPosition;
      scoring.slopes[r] = slope_of(params, row);
    }
    const int query_place = (Shape::kPrefillKeepsQuery ? stream.last_stage() : 0) + row_group * Shape::kQueryRowsBytes;
    if (dim_part == 0) fill_queries<Type, Shape>(params, row_at, query_place, lane);
    if constexpr (Shape::kDimParts > 1) {
      __syncthreads();  // two warps share the rows
    } else {
      __syncwarp();
    }
    Query<Shape, Shape::kPrefillKeepsQuery> query;
    query.take(query_place, lane);

    SoftmaxState<kDims / 4> folded[2];
    folded[0].clear();
    folded[1].clear();
    int leaf = begin / kLeafKeys;
    const int leaf_end = (end + kLeafKeys - 1) / kLeafKeys;
    while (leaf < leaf_end) {
      SoftmaxState<kDims / 4> state[2];
      state[0].clear();
      state[1].clear();
      const int split_end = min(leaf_end, (leaf / kLeavesPerSplit + 1) * kLeavesPerSplit);
#pragma unroll 1
      for (; leaf < split_end; ++leaf) {
        attend_leaf<Type, Shape, kDims, false>(params, stream, query, scoring, leaf, dim_part * kDims, lane, state);
      }
      close_split(state);
      merge(folded[0], state[0]);
      merge(folded[1], state[1]);
    }
    __syncthreads();  // the ring is free
    // As renewed() does.
    const Unit same(params, __shfl_sync(kAllLanes, index, 0), __shfl_sync(kAllLanes, params.heads, 0));
    write_rows<Type>(params, [&](int r) { return same.row_at(row_group * kFragmentRows + r); }, folded,
                     ptx::shared_memory() + warp * Shape::kOutputBytes, dim_part * kDims, lane);
  }
}

}  // namespace splitwiser::attention
