// The GEMM for few tokens: weights are streamed once, each warp its own 16 rows of its own part of K. A block has 8 warps:
// `parts` groups of 8 / parts warps, hence 128 / parts rows of the weight. The parts' sums meet in shared memory.
#pragma once

#include "epilogue.cuh"
#include "gemm_normed.cuh"
#include "gemm_tile.cuh"

namespace splitwiser::gemm {

// One warp's 16 rows by BlockN tokens of a K step of 128 bytes, on tensor cores (see MmaWarp for the layouts).
template <typename T, int BlockN>
struct NarrowWarp {
  static constexpr int blocks_n = BlockN / 8;
  float sums[blocks_n][4];
  int lane;

  __device__ __forceinline__ NarrowWarp() : lane(static_cast<int>(threadIdx.x) % 32) {}
  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int j = 0; j < blocks_n; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) sums[j][e] = 0.0f;
    }
  }

  __device__ __forceinline__ void multiply(const char* weights, const char* x) {
    std::uint32_t fragment[4][4];
#pragma unroll
    for (int slice = 0; slice < 4; ++slice) {
      ptx::ldmatrix_x4(fragment[slice], weights + (tile_offset<128>(lane % 16, lane / 16) ^ (slice * 32)));
    }
    if constexpr (blocks_n == 1) {
#pragma unroll
      for (int pair = 0; pair < 2; ++pair) {  // one ldmatrix: two k16 slices of 8 tokens
        std::uint32_t both[4];
        ptx::ldmatrix_x4(both, x + (tile_offset<128>(lane % 8, lane / 8) ^ (pair * 64)));
        const std::uint32_t low[2] = {both[0], both[1]}, high[2] = {both[2], both[3]};
        ptx::mma_m16n8k16(T{}, sums[0], fragment[2 * pair], low);
        ptx::mma_m16n8k16(T{}, sums[0], fragment[2 * pair + 1], high);
      }
    } else {
#pragma unroll
      for (int slice = 0; slice < 4; ++slice) {
#pragma unroll
        for (int j = 0; j < blocks_n; j += 2) {  // one ldmatrix: one k16 slice of 16 tokens
          std::uint32_t both[4];
          const int at = tile_offset<128>(lane % 8 + lane / 16 * 8, lane / 8 % 2) ^ (slice * 32);
          ptx::ldmatrix_x4(both, x + j * 8 * 128 + at);
          const std::uint32_t low[2] = {both[0], both[1]}, high[2] = {both[2], both[3]};
          ptx::mma_m16n8k16(T{}, sums[j], fragment[slice], low);
          ptx::mma_m16n8k16(T{}, sums[j + 1], fragment[slice], high);
        }
      }
    }
  }

  // plane: of this warp's part, at its first row.
  __device__ __forceinline__ void store(float* plane, int pitch) const {
#pragma unroll
    for (int j = 0; j < blocks_n; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        plane[(j * 8 + lane % 4 * 2 + e % 2) * pitch + lane / 4 + e / 2 * 8] = sums[j][e];
      }
    }
  }
};

// The same in f32: lane l has row l % 16 and half of the tokens; one chain of fma over ascending k for each.
template <int BlockN>
struct NarrowWarp<float, BlockN> {
  static constexpr int tokens = BlockN / 2;
  float sums[tokens];
  int lane;

  __device__ __forceinline__ NarrowWarp() : lane(static_cast<int>(threadIdx.x) % 32) {}
  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int j = 0; j < tokens; ++j) sums[j] = 0.0f;
  }

  __device__ __forceinline__ void multiply(const char* weights, const char* x) {
    const int row = lane % 16, first = lane / 16 * tokens;
#pragma unroll 2
    for (int chunk = 0; chunk < 8; ++chunk) {
      const float4 w = *reinterpret_cast<const float4*>(weights + tile_offset<128>(row, chunk));
#pragma unroll
      for (int j = 0; j < tokens; ++j) {
        const float4 v = *reinterpret_cast<const float4*>(x + tile_offset<128>(first + j, chunk));
        sums[j] = __fmaf_rn(w.x, v.x, sums[j]);
        sums[j] = __fmaf_rn(w.y, v.y, sums[j]);
        sums[j] = __fmaf_rn(w.z, v.z, sums[j]);
        sums[j] = __fmaf_rn(w.w, v.w, sums[j]);
      }
    }
  }

  __device__ __forceinline__ void store(float* plane, int pitch) const {
#pragma unroll
    for (int j = 0; j < tokens; ++j) plane[(lane / 16 * tokens + j) * pitch + lane % 16] = sums[j];
  }
};

// Waits for the oldest of `stages` (1 .. 5) groups on their way.
__device__ __forceinline__ void wait_for_oldest(int stages) {
  if (stages == 5) {
    ptx::cp_async_wait<4>();
  } else if (stages == 4) {
    ptx::cp_async_wait<3>();
  } else if (stages == 3) {
    ptx::cp_async_wait<2>();
  } else if (stages == 2) {
    ptx::cp_async_wait<1>();
  } else {
    ptx::cp_async_wait<0>();
  }
}

// Among the warps of a part. A group of one warp shares nothing with others: its pace is its own.
__device__ __forceinline__ void group_barrier(int group_warps) {
  if (group_warps == 1) {
    __syncwarp();
  } else {
    __syncthreads();
  }
}

// Normed: tokens are normalised first and stay in shared memory; a stage has weights alone, and there is one tile of tokens.
template <typename T, int BlockN, bool Normed = false>
__device__ __forceinline__ void narrow_body(const GemmParams& params) {
  constexpr int kUnitSteps = kStepsPerUnit<T, 128>;

  char* const memory = ptx::shared_memory();
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = warp_index();
  const int parts = params.parts, group_warps = kNarrowWarps / parts;
  const int part = warp >> (__ffs(group_warps) - 1), group_warp = warp & (group_warps - 1);
  const int block_m = 16 * group_warps;

  const int n = token_count(params);
  const std::uint32_t m_tiles = static_cast<std::uint32_t>((params.m + block_m - 1) / block_m);
  const std::uint32_t n_tiles = n <= 0 ? 0U : (static_cast<std::uint32_t>(n) + BlockN - 1) / BlockN;
  const std::uint32_t tiles = m_tiles * n_tiles;

  const int units = k_units(params);
  const int first_unit = part_begin(units, parts, part);
  const int own_steps = (part_begin(units, parts, part + 1) - first_unit) * kUnitSteps;
  const int steps = (units + parts - 1) / parts * kUnitSteps;  // of the longest part
  const std::int64_t first_byte = std::int64_t(first_unit) * (kGemmKAlign * kBytesOf<T>);
  const std::int64_t weight_row = params.k_stride * kBytesOf<T>, x_row = params.k * kBytesOf<T>;

  const int stages = params.stages, stage_bytes = kNarrowWarps * 16 * 128 + (Normed ? 0 : parts * BlockN * 128);
  const int own_weights = warp * 16 * 128, own_x = kNarrowWarps * 16 * 128 + part * BlockN * 128;
  // Copies: lane l takes chunk l % 8 of rows l / 8 + 4 j; of the tokens, a group's warps take turns. Where the next row is
  // 4 further, not a multiple of 8, its chunks lie 64 bytes over (tile_offset).
  const int chunk = lane % 8, row = lane / 8;
  const int weight_to = own_weights + tile_offset<128>(row, chunk);
  const int x_first = group_warp * 4 + row, x_turn = group_warps * 4;
  const int x_to = own_x + tile_offset<128>(x_first, chunk), x_to_odd = group_warps == 1 ? x_to ^ 64 : x_to;
  // The same for all lanes of a warp: 4 tokens a turn.
  const int x_turns = x_turn <= BlockN ? BlockN / 4 / group_warps : group_warp * 4 < BlockN ? 1 : 0;
  const std::int64_t x_step = x_turn * x_row;
  char* const last = memory + (stages - 1) * stage_bytes;
  NarrowWarp<T, BlockN> products;
  const NormedTokens<T, BlockN> normed(params, memory + params.norm.place, n);

  for (std::uint32_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const int m0 = static_cast<int>(tile % m_tiles) * block_m, n0 = static_cast<int>(tile / m_tiles) * BlockN;
    const std::int64_t along = first_byte + chunk * 16;
    const char* weight = static_cast<const char*>(params.weight) + along;
    weight += std::int64_t(m0 + group_warp * 16 + row) * weight_row;
    const char* x = static_cast<const char*>(params.x) + along + std::int64_t(n0 + x_first) * x_row;
    int k_left = static_cast<int>(x_row - along);
    const int tokens = n - n0 < BlockN ? n - n0 : BlockN;

    const auto load = [&](char* stage) {
      const char* from = weight;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        ptx::cp_async_16(stage + (j % 2 == 0 ? weight_to : weight_to ^ 64) + j * 4 * 128, from);
        from += 4 * weight_row;
      }
      weight += 128;
      if constexpr (Normed) return;
      const int real = k_left > 0 ? tokens - x_first : 0;
      from = x;
#pragma unroll
      for (int j = 0; j < BlockN / 4; ++j) {
        if (j >= x_turns) break;
        ptx::cp_async_16(stage + (j % 2 == 0 ? x_to : x_to_odd) + j * x_turn * 128, from, j * x_turn < real ? 16 : 0);
        from += x_step;
      }
      x += 128;
      k_left -= 128;
    };

    if constexpr (Normed) {
      if (tile == blockIdx.x) {
        normed.load(warp, lane);
        ptx::cp_async_commit();
      }
    }
    // All stages are on their way before the first is read, and a stage is refilled as soon as it has been read: while a
    // block waits, it has `stages` K steps in flight. Two barriers a step are the price, few beside the wait for memory.
    for (int s = 0; s < stages; ++s) {
      if (s < own_steps) load(memory + s * stage_bytes);
      ptx::cp_async_commit();
    }
    if constexpr (Normed) {
      if (tile == blockIdx.x) {
        wait_for_oldest(stages + 1);
        normed.normalize(warp, lane);
      }
    }
    products.clear();
    char* stage = memory;
    for (int step = 0; step < steps; ++step) {
      wait_for_oldest(stages);
      group_barrier(group_warps);
      if (step < own_steps) {
        products.multiply(stage + own_weights, Normed ? normed.step(first_unit * kUnitSteps + step) : stage + own_x);
      }
      group_barrier(group_warps);
      if (step + stages < own_steps) load(stage);
      ptx::cp_async_commit();
      stage = stage == last ? memory : stage + stage_bytes;
    }

    __syncthreads();
    float* const out = reinterpret_cast<float*>(memory);
    const int pitch = block_m + kSumsPad, plane_floats = BlockN * pitch;
    products.store(out + part * plane_floats + group_warp * 16, pitch);
    __syncthreads();
    const Sums sums{out, parts, plane_floats, pitch};
    write_tile<T, kNarrowThreads>(params, sums, block_m, BlockN, m0, n0, n);
    __syncthreads();
  }
}

}  // namespace splitwiser::gemm
