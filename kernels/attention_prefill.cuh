// Prefill: segments of more than one row. The rows of a KV head's group of query heads, token by token, are packed into
// tiles of kPrefillRows; a block walks one tile's keys, 16 rows a warp.
#pragma once

#include "attention_leaf.cuh"

namespace splitwiser::attention {

template <class Type, int HeadDim>
__device__ __forceinline__ void prefill(const AttentionParams& params) {
  using Shape = AttentionShape<Element<Type>::kBytes, HeadDim>;
  using Stream = KvStream<Shape, Shape::kPrefillThreads, Shape::kPrefillStepKeys, Shape::kPrefillStages>;
  constexpr int kDims = Shape::kPrefillDims;
  constexpr int kLeavesPerSplit = kSplitKeys / kLeafKeys;

  const int thread = int(threadIdx.x);
  const int lane = thread % 32;
  const int row_group = thread / 32 / Shape::kDimParts;
  const int dim_part = thread / 32 % Shape::kDimParts;

  const StepView& step = params.step;
  const int group = params.heads / params.kv_heads;
  Scoring scoring = make_scoring(params);
  Stream stream(params, Shape::kRowGroups * Shape::kQueryBytes, thread);

  // A tile of kPrefillRows tokens is `group` units for each KV head. The last rows have the most keys and come first.
  const int units = params.tile_count * params.heads;
  for (int unit = int(blockIdx.x); unit < units; unit += int(gridDim.x)) {
    const AttentionTile tile = params.tiles[params.tile_count - 1 - unit / params.heads];
    const int kv_head = unit % params.heads / group;
    const int first_packed = unit % group * Shape::kPrefillRows;
    const int first_step_row = step.row_indptr[tile.segment];
    const int segment_rows = step.row_indptr[tile.segment + 1] - first_step_row;
    const int tokens = min(segment_rows - tile.first_row, Shape::kPrefillRows);
    if (first_packed >= tokens * group) continue;

    const int first_position = step.kv_lengths[tile.segment] - segment_rows + tile.first_row;
    const auto row_at = [&](int r) {
      const int packed = first_packed + row_group * kFragmentRows + r;
      const int token = packed / group;
      return TileRow{token < tokens, kv_head * group + (packed - token * group),
                     std::int64_t(first_step_row) + tile.first_row + token};
    };
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const TileRow row = row_at(lane / 4 + 8 * r);
      scoring.positions[r] = row.real ? first_position + int(row.row - first_step_row) - tile.first_row : kNoPosition;
      scoring.slopes[r] = slope_of(params, row);
    }

    const int first_token = first_packed / group;
    const int last_token = min((first_packed + Shape::kPrefillRows - 1) / group, tokens - 1);
    const int begin = params.window > 0 ? max(0, first_position + first_token - params.window + 1) : 0;
    const int end = first_position + last_token + 1;
    const int leaf_end = (end + kLeafKeys - 1) / kLeafKeys;
    int leaf = begin / kLeafKeys;

    stream.start(tile.segment, kv_head, begin, end, leaf, leaf_end);
    const int query_place = (Shape::kQueryInRegisters ? stream.last_stage() : 0) + row_group * Shape::kQueryRowsBytes;
    if (dim_part == 0) fill_queries<Type, Shape>(params, row_at, query_place, lane);
    if constexpr (Shape::kDimParts > 1) {
      __syncthreads();  // two warps share the rows
    } else {
      __syncwarp();
    }
    Query<Shape> query;
    query.take(query_place, lane);

    SoftmaxState<kDims / 4> folded[2];
    folded[0].clear();
    folded[1].clear();
    while (leaf < leaf_end) {
      SoftmaxState<kDims / 4> state[2];
      state[0].clear();
      state[1].clear();
      const int split_end = min(leaf_end, (leaf / kLeavesPerSplit + 1) * kLeavesPerSplit);
#pragma unroll 1
      for (; leaf < split_end; ++leaf) {
        attend_leaf<Type, Shape, kDims>(stream, query, scoring, leaf, dim_part * kDims, lane, state);
      }
      close_split(state);
      merge(folded[0], state[0]);
      merge(folded[1], state[1]);
    }
    __syncthreads();  // the ring is free
    write_rows<Type>(params, row_at, folded, ptx::shared_memory() + thread / 32 * Shape::kPrefillOutputBytes,
                     dim_part * kDims, lane);
  }
}

}  // namespace splitwiser::attention
