// The f32 GEMM for many tokens, by fma: the same tiles, parts and epilogue as the tensor cores' (gemm_blocked.cuh).
#pragma once

#include "gemm_blocked.cuh"

namespace splitwiser::gemm {

// A warp has 64 rows by 16 tokens, a lane 8 rows by 4 tokens: rows lane % 8 + 8 i, tokens lane / 8 + 4 j. The 8 lanes that
// read shared memory together then read 8 consecutive rows of weights (32 banks) and one row of tokens (a broadcast).
template <typename Shape>
__device__ __forceinline__ void blocked_f32_body(const GemmParams& params) {
  static_assert(Shape::block_m == 64 && Shape::block_n == 64 && Shape::threads == 128 && Shape::row_bytes == 128);
  constexpr int kStages = Shape::stages, kRows = 8, kTokens = 4;
  constexpr int kUnitSteps = kStepsPerUnit<float, Shape::row_bytes>;

  char* const memory = ptx::shared_memory();
  const int n = token_count(params);
  const TileWalk<Shape::block_m, Shape::block_n> walk(params, n);
  const std::uint32_t tiles = walk.count();
  const int units = k_units(params);
  const int steps = units * kUnitSteps;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = warp_index();
  const int row = lane % 8, token = warp * 16 + lane / 8;

  for (std::uint32_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const TilePlace place = walk[tile];
    TileLoader<float, Shape> loader(params, place, n);
#pragma unroll
    for (int s = 0; s < kStages - 1; ++s) {
      if (s < steps) loader.load(memory + s * Shape::stage_bytes);
      ptx::cp_async_commit();
    }

    float sums[kRows][kTokens], total[kRows][kTokens];
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
#pragma unroll
      for (int j = 0; j < kTokens; ++j) total[i][j] = sums[i][j] = 0.0f;
    }
    PartCursor cursor(params, units, kUnitSteps);
    const char* read = memory;
    char* write = memory + (kStages - 1) * Shape::stage_bytes;
    char* const last = write;

    for (int step = 0; step < steps; ++step) {
      ptx::cp_async_wait<kStages - 2>();
      __syncthreads();
      if (step + kStages - 1 < steps) loader.load(write);
      ptx::cp_async_commit();
      write = write == last ? memory : write + Shape::stage_bytes;
      const char* const x = read + Shape::block_m * Shape::row_bytes;
#pragma unroll 2
      for (int chunk = 0; chunk < 8; ++chunk) {
        float4 v[kTokens];
#pragma unroll
        for (int j = 0; j < kTokens; ++j) {
          v[j] = *reinterpret_cast<const float4*>(x + tile_offset<128>(token + 4 * j, chunk));
        }
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
          const float4 w = *reinterpret_cast<const float4*>(read + tile_offset<128>(row + 8 * i, chunk));
#pragma unroll
          for (int j = 0; j < kTokens; ++j) {
            sums[i][j] = __fmaf_rn(w.x, v[j].x, sums[i][j]);
            sums[i][j] = __fmaf_rn(w.y, v[j].y, sums[i][j]);
            sums[i][j] = __fmaf_rn(w.z, v[j].z, sums[i][j]);
            sums[i][j] = __fmaf_rn(w.w, v[j].w, sums[i][j]);
          }
        }
      }
      read = read == last ? memory : read + Shape::stage_bytes;
      const bool first = cursor.part == 0;
      if (cursor.completes(step + 1)) {
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
#pragma unroll
          for (int j = 0; j < kTokens; ++j) {
            total[i][j] = first ? sums[i][j] : __fadd_rn(total[i][j], sums[i][j]);
            sums[i][j] = 0.0f;
          }
        }
      }
    }

    __syncthreads();
    float* const out = reinterpret_cast<float*>(memory);
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
#pragma unroll
      for (int j = 0; j < kTokens; ++j) out[(token + 4 * j) * Shape::pitch + row + 8 * i] = total[i][j];
    }
    __syncthreads();
    write_tile<float, Shape::threads>(params, Sums{out, 1, 0, Shape::pitch}, Shape::block_m, Shape::block_n, place.m0,
                                      place.n0, n);
    __syncthreads();
  }
}

}  // namespace splitwiser::gemm
