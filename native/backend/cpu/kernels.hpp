// The border between the CPU backend and its kernels: one table of functions per instruction set, and
// the layouts that both sides share. Kernels compute one task of an op; drivers (ops_*.cpp) cut ops
// into tasks. Nothing here throws.
//
// Bits (invariant 1). An output of a linear is one chain of fma over k ascending from 0. Attention cuts
// the keys of a sequence into leaves of kLeaf and splits of kSplit at absolute positions; inside a split
// leaves run in ascending order from the empty state; splits fold from left to right. Neither depends on
// how rows are tiled, on the batch or on threads.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/backend.hpp"

namespace splitwiser::cpu {

enum class Isa : std::uint8_t { portable, avx2, avx512, neon };
[[nodiscard]] constexpr const char* name_of(Isa isa) {
  switch (isa) {
    case Isa::portable: return "portable";
    case Isa::avx2: return "avx2";
    case Isa::avx512: return "avx512";
    case Isa::neon: return "neon";
  }
  return "portable";
}

inline constexpr int kPanel = 16;      // outputs of a panel of packed weights: [panels][cols][kPanel]
inline constexpr int kKeyGroup = 16;   // keys whose scores are computed together; divides the page size
inline constexpr int kLeaf = 64;       // keys of one step of the online softmax
inline constexpr int kSplit = 256;     // keys of one partial state
inline constexpr int kMaxHeadDim = 256;
inline constexpr int kMaxTileRows = 12;       // of any instruction set
inline constexpr int kMaxAttentionRows = 48;  // (token, query head) rows of one attention task
inline constexpr int kDepthBlock = 256;       // k's between two stores of a linear's accumulators
inline constexpr int kMaxLinearCells = 1024;  // rows x panels of one linear task with several tiles
inline constexpr std::size_t kScratchBytes = std::size_t(384) << 10;  // of one thread

[[nodiscard]] constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
[[nodiscard]] constexpr std::int64_t round_up(std::int64_t a, std::int64_t b) { return ceil_div(a, b) * b; }

// Rows are cut into as few tiles as possible, as even as possible.
struct Tiling {
  std::int64_t rows;
  std::int64_t tiles;
  [[nodiscard]] constexpr std::int64_t begin(std::int64_t tile) const { return rows * tile / tiles; }
};
[[nodiscard]] constexpr Tiling tile_rows(std::int64_t rows, int at_most) { return {rows, ceil_div(rows, at_most)}; }

// out[r][o] = activation(sum over k of x[r][k] w[o][k] + bias[o]) + residual[r][o]
struct LinearArgs {
  const float* x;           // packed tiles (CpuKernels::pack_rows); tile t begins at begin(t) * padded_cols
  Tiling tiling;
  std::int64_t cols;
  std::int64_t padded_cols;  // a multiple of CpuKernels::group
  std::int64_t outputs;
  const std::byte* weights;  // [panels][cols][kPanel], zeros after the last output
  DType dtype;               // of weights
  const float* bias;         // [panels * kPanel], or null
  Activation activation;
  const float* residual;     // or null; may be out
  std::int64_t residual_stride;
  float* out;
  std::int64_t out_stride;
};

struct LinearTask {
  std::int64_t tile_begin, tile_end;
  std::int64_t panel_begin, panel_end;
};

// One layer of the KV pool: [page][kv head]{ keys [head_dim][page_size], values [page_size][padded_dim] }.
struct KvLayer {
  std::byte* data;
  std::size_t page_bytes;    // from page to page
  std::size_t head_bytes;    // from head to head
  std::size_t value_offset;  // of the values within a head
  int head_dim;
  int padded_dim;            // a multiple of kPanel
  int page_size;
  DType dtype;

  [[nodiscard]] std::byte* keys(std::int64_t page, int head) const {
    return data + std::size_t(page) * page_bytes + std::size_t(head) * head_bytes;
  }
  [[nodiscard]] std::byte* values(std::int64_t page, int head) const { return keys(page, head) + value_offset; }
};

// Attention of one segment. A row is a pair (token, query head of the KV head), the head running fastest:
// row i of KV head h is token i / group, query head h * group + i % group.
struct AttentionArgs {
  KvLayer kv;
  const std::int32_t* pages;
  std::int64_t kv_length;       // tokens in the cache; later columns are never read
  std::int64_t first_position;  // of the segment's first token
  int group;                    // query heads per KV head
  float scale;
  const float* q;               // [tokens, q_stride], heads of head_dim
  std::int64_t q_stride;
  float* out;                   // [tokens, out_stride]
  std::int64_t out_stride;

  // Keys that row i sees.
  [[nodiscard]] std::int64_t length(std::int64_t row) const { return first_position + row / group + 1; }
};

struct AttentionTask {
  int kv_head;
  std::int64_t row_begin, row_end;  // at most kMaxAttentionRows
  std::int64_t split;               // -1: all of them, and out is written
  float* partial;                   // with a split: its states, [row_end - row_begin][partial_stride]
};

// A partial state in memory: maximum, sum, then the output not yet divided by the sum.
inline constexpr int kPartialHeader = 16;
[[nodiscard]] constexpr std::int64_t partial_stride(int padded_dim) { return kPartialHeader + padded_dim; }

struct CpuKernels {
  Isa isa;
  int tile_rows;  // most rows of a tile
  int group;      // k's of one row that lie side by side in a packed tile

  // x [rows, stride] -> packed [ceil(cols / group)][rows][group]; rows <= tile_rows.
  void (*pack_rows)(const float* x, std::int64_t stride, std::int64_t cols, int rows, float* packed);
  void (*linear)(const LinearArgs& args, const LinearTask& task, float* scratch);
  void (*attention)(const AttentionArgs& args, const AttentionTask& task, float* scratch);
  // Folds the states of splits 0, 1, ... of the task's rows and writes out. partial: [splits][rows][stride].
  void (*merge_splits)(const AttentionArgs& args, const AttentionTask& task, const float* partial, float* scratch);
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float eps, std::int64_t cols, float* out);
  void (*narrow)(const float* from, std::int64_t count, DType type, std::byte* to);
};

[[nodiscard]] const CpuKernels& portable_kernels();
#if defined(__x86_64__) || defined(_M_X64)
#define SPLITWISER_X86 1
[[nodiscard]] const CpuKernels& avx2_kernels();
[[nodiscard]] const CpuKernels& avx512_kernels();
#endif
#if defined(__aarch64__) || defined(_M_ARM64)
#define SPLITWISER_ARM 1
[[nodiscard]] const CpuKernels& neon_kernels();
#endif

}  // namespace splitwiser::cpu
