// What all GEMM kernels share: how a tile lies in shared memory, where K is cut, how tiles are walked, how they are loaded.
#pragma once

#include "gemm.hpp"
#include "number.cuh"
#include "ptx.cuh"

namespace splitwiser::gemm {

// The narrow kernels' blocks.
inline constexpr int kNarrowWarps = 8;
inline constexpr int kNarrowThreads = 32 * kNarrowWarps;

// A tile has rows of RowBytes bytes along k, in chunks of 16. Chunk c of row r lies at chunk c ^ s(r): eight consecutive
// rows of one chunk (a matrix of ldmatrix) then cover all 32 banks, and so do eight consecutive chunks (cp.async).
template <int RowBytes>
__device__ __forceinline__ int tile_offset(int row, int chunk) {
  static_assert(RowBytes == 64 || RowBytes == 128);
  const int turn = RowBytes == 128 ? row & 7 : (row >> 1) & 3;
  return row * RowBytes + ((chunk ^ turn) << 4);
}

// K steps of RowBytes in a unit of K.
template <typename T, int RowBytes>
inline constexpr int kStepsPerUnit = kGemmKAlign * kBytesOf<T> / RowBytes;

// Tokens that are real: the host's count, or the device's where a graph has a bound.
__device__ __forceinline__ int token_count(const GemmParams& params) {
  const int n = static_cast<int>(params.n);
  if (params.rows == nullptr) return n;
  const int rows = *params.rows;
  return rows < n ? rows : n;
}

// The same for all lanes, and the compiler knows it: no branch on it needs the code that gathers a warp again.
__device__ __forceinline__ int warp_index() {
  return static_cast<int>(__shfl_sync(0xffffffffU, threadIdx.x / 32, 0));
}

// K in units of 64, the last filled with zeros; part p begins at unit p * units / parts.
__device__ __forceinline__ int k_units(const GemmParams& params) {
  return static_cast<int>((params.k + kGemmKAlign - 1) / kGemmKAlign);
}
__device__ __forceinline__ int part_begin(int units, int parts, int part) {
  return (part * units) >> (__ffs(parts) - 1);  // parts is a power of two
}

// Where tile `index` lies. Blocks that run together take neighbours: bands of 8 tiles along m, in a band m first, so that
// 8 tiles read the same tokens and the next 8 the same weights, from L2.
struct TilePlace {
  int m0, n0;  // kept through the main loop; plan_gemm sees to it that they fit
};
template <int BlockM, int BlockN>
struct TileWalk {
  std::uint32_t m_tiles, n_tiles;

  __device__ __forceinline__ TileWalk(const GemmParams& params, int n)
      : m_tiles(static_cast<std::uint32_t>((params.m + BlockM - 1) / BlockM)),
        n_tiles(n <= 0 ? 0U : (static_cast<std::uint32_t>(n) + BlockN - 1) / BlockN) {}
  __device__ __forceinline__ std::uint32_t count() const { return m_tiles * n_tiles; }
  __device__ __forceinline__ TilePlace operator[](std::uint32_t index) const {
    constexpr std::uint32_t kBand = 8;
    const std::uint32_t band = index / (kBand * n_tiles);
    const std::uint32_t first = band * kBand;
    const std::uint32_t rows = m_tiles - first < kBand ? m_tiles - first : kBand;
    const std::uint32_t rest = index - first * n_tiles;
    return {static_cast<int>((first + rest % rows) * BlockM), static_cast<int>(rest / rows * BlockN)};
  }
};

// Copies K steps of a tile, weights and tokens, to shared memory, every thread its chunks: chunk thread % kChunks of rows
// thread / kChunks + j * kRows. Tokens beyond n and chunks beyond k are zero.
template <typename T, typename Shape>
struct TileLoader {
  static constexpr int kChunks = Shape::row_bytes / 16;
  static constexpr int kRows = Shape::threads / kChunks;  // rows that one turn of all threads covers
  static_assert(Shape::block_m % kRows == 0 && Shape::block_n % kRows == 0 && kRows % 8 == 0);

  const char* weight;
  const char* x;
  std::int64_t weight_turn, x_turn;  // bytes from one turn's row to the next's
  int k_left;                        // bytes of x's row from this chunk on
  int tokens_left;                   // from this thread's first row on
  int to;

  __device__ __forceinline__ TileLoader(const GemmParams& params, TilePlace place, int n) {
    const int row = static_cast<int>(threadIdx.x) / kChunks, chunk = static_cast<int>(threadIdx.x) % kChunks;
    const std::int64_t weight_row = params.k_stride * kBytesOf<T>, x_row = params.k * kBytesOf<T>;
    weight = static_cast<const char*>(params.weight) + std::int64_t(place.m0 + row) * weight_row + chunk * 16;
    x = static_cast<const char*>(params.x) + std::int64_t(place.n0 + row) * x_row + chunk * 16;
    weight_turn = kRows * weight_row;
    x_turn = kRows * x_row;
    k_left = static_cast<int>(x_row) - chunk * 16;
    tokens_left = n - place.n0 - row;
    to = tile_offset<Shape::row_bytes>(row, chunk);
  }

  // The next K step, to a stage.
  __device__ __forceinline__ void load(char* stage) {
    const char* from = weight;
#pragma unroll
    for (int j = 0; j < Shape::block_m / kRows; ++j) {
      ptx::cp_async_16(stage + to + j * kRows * Shape::row_bytes, from);
      from += weight_turn;
    }
    char* const x_tile = stage + Shape::block_m * Shape::row_bytes;
    const int tokens = k_left > 0 ? tokens_left : 0;
    from = x;
#pragma unroll
    for (int j = 0; j < Shape::block_n / kRows; ++j) {
      ptx::cp_async_16(x_tile + to + j * kRows * Shape::row_bytes, from, j * kRows < tokens ? 16 : 0);
      from += x_turn;
    }
    weight += Shape::row_bytes;
    x += Shape::row_bytes;
    k_left -= Shape::row_bytes;
  }
};

}  // namespace splitwiser::gemm
