// The GEMM for many tokens: all warps of a block work on the same K step of a tile, the parts of K run one after another.
#pragma once

#include "epilogue.cuh"
#include "gemm_tile.cuh"

namespace splitwiser::gemm {

// A block's tile, its warps' grid, the bytes of a K step and the stages of the pipeline.
template <int BlockM, int BlockN, int WarpsM, int WarpsN, int RowBytes, int Stages>
struct BlockShape {
  static constexpr int block_m = BlockM, block_n = BlockN, warps_m = WarpsM, warps_n = WarpsN;
  static constexpr int row_bytes = RowBytes, stages = Stages;
  static constexpr int threads = 32 * WarpsM * WarpsN;
  static constexpr int stage_bytes = (BlockM + BlockN) * RowBytes;
  // The sums take the stages' place on their way out.
  static constexpr int pitch = BlockM + kSumsPad;
  static constexpr int sums_bytes = BlockN * pitch * 4;
  static constexpr int shared_bytes = sums_bytes < Stages * stage_bytes ? Stages * stage_bytes : sums_bytes;
};

// Where a tile's K steps change from one part to the next.
struct PartCursor {
  int units, parts, steps_per_unit, part, end;

  __device__ __forceinline__ PartCursor(const GemmParams& params, int units_of_k, int steps)
      : units(units_of_k), parts(params.parts), steps_per_unit(steps), part(0),
        end(part_begin(units, parts, 1) * steps) {}
  // Whether `done` steps complete a part that others follow or precede; then moves to the next.
  __device__ __forceinline__ bool completes(int done) {
    if (done != end) return false;
    ++part;
    end = part_begin(units, parts, part + 1) * steps_per_unit;
    return true;
  }
};

// One warp's part of the tile on tensor cores. Fragments of mma m16n8k16: lane l has g = l / 4, t = l % 4;
// a0 = (row g, k 2t 2t+1), a1 = (g + 8, 2t), a2 = (g, 2t + 8), a3 = (g + 8, 2t + 8);
// b0 = (k 2t 2t+1, token g), b1 = (2t + 8, g);
// d0 d1 = (row g, token 2t 2t+1), d2 d3 = (g + 8, 2t 2t+1). ldmatrix gives them from rows along k, of both operands.
template <typename T, typename Shape>
struct MmaWarp {
  static constexpr int warp_m = Shape::block_m / Shape::warps_m, warp_n = Shape::block_n / Shape::warps_n;
  static constexpr int blocks_m = warp_m / 16, blocks_n = warp_n / 8;
  static constexpr int slices = Shape::row_bytes / 32;  // k16 slices of a K step
  static_assert(warp_m % 16 == 0 && warp_n % 16 == 0);

  struct Fragments {
    std::uint32_t a[blocks_m][4];
    std::uint32_t b[blocks_n / 2][4];
  };

  int first_row, first_token;  // of this warp in the tile
  int a_at, b_at;              // this lane's row for ldmatrix
  int lane;
  float sums[blocks_m][blocks_n][4];

  __device__ __forceinline__ MmaWarp() {
    const int warp = warp_index();
    lane = static_cast<int>(threadIdx.x) % 32;
    first_row = warp % Shape::warps_m * warp_m;
    first_token = warp / Shape::warps_m * warp_n;
    a_at = tile_offset<Shape::row_bytes>(first_row + lane % 16, lane / 16);
    b_at = Shape::block_m * Shape::row_bytes +
           tile_offset<Shape::row_bytes>(first_token + lane % 8 + lane / 16 * 8, lane / 8 % 2);
  }

  __device__ __forceinline__ void load(const char* stage, int slice, Fragments& to) const {
    // Chunk c + 2 * slice of a row is its chunk c with two bits turned, whatever the row's own turn is.
    const char* const a = stage + (a_at ^ (slice * 32));
    const char* const b = stage + (b_at ^ (slice * 32));
#pragma unroll
    for (int i = 0; i < blocks_m; ++i) ptx::ldmatrix_x4(to.a[i], a + i * 16 * Shape::row_bytes);
#pragma unroll
    for (int j = 0; j < blocks_n / 2; ++j) ptx::ldmatrix_x4(to.b[j], b + j * 16 * Shape::row_bytes);
  }

  __device__ __forceinline__ void multiply(const Fragments& by) {
#pragma unroll
    for (int i = 0; i < blocks_m; ++i) {
#pragma unroll
      for (int j = 0; j < blocks_n; ++j) {
        const std::uint32_t b[2] = {by.b[j / 2][j % 2 * 2], by.b[j / 2][j % 2 * 2 + 1]};
        ptx::mma_m16n8k16(T{}, sums[i][j], by.a[i], b);
      }
    }
  }
};

template <typename T, typename Shape, bool Parts>
__device__ __forceinline__ void blocked_body(const GemmParams& params) {
  using Warp = MmaWarp<T, Shape>;
  constexpr int kStages = Shape::stages;
  constexpr int kUnitSteps = kStepsPerUnit<T, Shape::row_bytes>;
  // Fragments of the next k16 slice load while this slice multiplies; with two blocks a multiprocessor the other warps
  // hide that time, and the registers of a second set are not there.
  constexpr int kSets = Parts ? 2 : 1;

  char* const memory = ptx::shared_memory();
  const int n = token_count(params);
  const TileWalk<Shape::block_m, Shape::block_n> walk(params, n);
  const std::uint32_t tiles = walk.count();
  const int units = k_units(params);
  const int steps = units * kUnitSteps;
  Warp warp;

  for (std::uint32_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const TilePlace place = walk[tile];
    TileLoader<T, Shape> loader(params, place, n);
#pragma unroll
    for (int s = 0; s < kStages - 1; ++s) {
      if (s < steps) loader.load(memory + s * Shape::stage_bytes);
      ptx::cp_async_commit();
    }

    float total[Warp::blocks_m][Warp::blocks_n][4];
#pragma unroll
    for (int i = 0; i < Warp::blocks_m; ++i) {
#pragma unroll
      for (int j = 0; j < Warp::blocks_n; ++j) {
#pragma unroll
        for (int e = 0; e < 4; ++e) total[i][j][e] = warp.sums[i][j][e] = 0.0f;
      }
    }
    PartCursor cursor(params, units, kUnitSteps);
    typename Warp::Fragments fragments[kSets];
    const char* read = memory;
    char* write = memory + (kStages - 1) * Shape::stage_bytes;
    char* const last = memory + (kStages - 1) * Shape::stage_bytes;

    ptx::cp_async_wait<kStages - 2>();
    __syncthreads();
    if constexpr (kSets == 2) warp.load(read, 0, fragments[0]);
    for (int step = 0; step < steps; ++step) {
      const char* const next = read == last ? memory : read + Shape::stage_bytes;
#pragma unroll
      for (int slice = 0; slice < Warp::slices; ++slice) {
        if constexpr (kSets == 1) {
          if (slice > 0) warp.load(read, slice, fragments[0]);
        } else if (slice + 1 < Warp::slices) {
          warp.load(read, slice + 1, fragments[(slice + 1) % 2]);
        } else {
          ptx::cp_async_wait<kStages - 2>();
          __syncthreads();
          if (step + 1 < steps) warp.load(next, 0, fragments[0]);
        }
        if (slice == 0) {
          // The stage that was read in the step before is free: every warp has passed the barrier since. With two sets the
          // copies come after the first ldmatrix, since ptxas does not move one before the other; with one they come before
          // it, because the registers of their addresses are not there while the fragments are.
          if (step + kStages - 1 < steps) loader.load(write);
          ptx::cp_async_commit();
          write = write == last ? memory : write + Shape::stage_bytes;
          if constexpr (kSets == 1) warp.load(read, 0, fragments[0]);
        }
        warp.multiply(fragments[slice % kSets]);
      }
      if constexpr (kSets == 1) {
        ptx::cp_async_wait<kStages - 2>();
        __syncthreads();
      }
      read = next;
      if constexpr (Parts) {
        const bool first = cursor.part == 0;
        if (cursor.completes(step + 1)) {
#pragma unroll
          for (int i = 0; i < Warp::blocks_m; ++i) {
#pragma unroll
            for (int j = 0; j < Warp::blocks_n; ++j) {
#pragma unroll
              for (int e = 0; e < 4; ++e) {
                total[i][j][e] = first ? warp.sums[i][j][e] : __fadd_rn(total[i][j][e], warp.sums[i][j][e]);
                warp.sums[i][j][e] = 0.0f;
              }
            }
          }
        }
      }
    }

    float* const out = reinterpret_cast<float*>(memory);
#pragma unroll
    for (int i = 0; i < Warp::blocks_m; ++i) {
#pragma unroll
      for (int j = 0; j < Warp::blocks_n; ++j) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const int token = warp.first_token + j * 8 + warp.lane % 4 * 2 + e % 2;
          const int row = warp.first_row + i * 16 + warp.lane / 4 + e / 2 * 8;
          out[token * Shape::pitch + row] = Parts ? total[i][j][e] : warp.sums[i][j][e];
        }
      }
    }
    __syncthreads();
    const Sums sums{out, 1, 0, Shape::pitch};
    write_tile<T, Shape::threads>(params, sums, Shape::block_m, Shape::block_n, place.m0, place.n0, n);
    __syncthreads();
  }
}

}  // namespace splitwiser::gemm
