// A warp's 16 rows of queries and of output: their way from `qkv` and to `out`, whatever these hold.
#pragma once

#include "attention_stream.cuh"
#include "online_softmax.cuh"
#include "ptx.cuh"

namespace splitwiser::attention {

template <class Type>
struct Element;
template <>
struct Element<ptx::F16> {
  static constexpr int kBytes = 2;
  static constexpr DType kDType = DType::f16;
};
template <>
struct Element<ptx::BF16> {
  static constexpr int kBytes = 2;
  static constexpr DType kDType = DType::bf16;
};
template <>
struct Element<float> {
  static constexpr int kBytes = 4;
  static constexpr DType kDType = DType::f32;
};

// Row r (0 .. 15) of a warp's tile.
struct TileRow {
  bool real;           // else nothing of it is read or written
  std::int32_t head;   // of the query heads
  std::int64_t row;    // of the step
};

__device__ __forceinline__ float read_number(const void* from, DType dtype, std::int64_t index) {
  if (dtype == DType::f32) return static_cast<const float*>(from)[index];
  const std::uint16_t bits = static_cast<const std::uint16_t*>(from)[index];
  return dtype == DType::f16 ? ptx::widen(ptx::F16{}, bits) : ptx::widen(ptx::BF16{}, bits);
}

__device__ __forceinline__ void write_number(void* to, DType dtype, std::int64_t index, float value) {
  if (dtype == DType::f32) {
    static_cast<float*>(to)[index] = value;
  } else {
    static_cast<std::uint16_t*>(to)[index] =
        dtype == DType::f16 ? ptx::narrow(ptx::F16{}, value) : ptx::narrow(ptx::BF16{}, value);
  }
}

__device__ __forceinline__ std::uint32_t narrow_pair(DType dtype, float low, float high) {
  return dtype == DType::f16 ? ptx::narrow_pair(ptx::F16{}, low, high) : ptx::narrow_pair(ptx::BF16{}, low, high);
}

// Whether every eighth element of every head of every row lies on 16 bytes.
__device__ __forceinline__ bool wide_access(const void* base, std::int64_t cols, int head_dim) {
  return ((int(cols) | head_dim) & 7) == 0 && (reinterpret_cast<std::uintptr_t>(base) & 15) == 0;
}

// ---- queries ------------------------------------------------------------------------------------

// Puts 16 rows, rounded to the cache's type and padded with zeros, into shared memory, laid out as keys are. Two lanes a row.
template <class Type, class Shape, class RowAt>
__device__ __forceinline__ void fill_queries(const AttentionParams& params, RowAt row_at, int place, int lane) {
  constexpr int kBytes = Element<Type>::kBytes;
  constexpr int kTurns = Shape::kPieces / 2;
  constexpr int kAtOnce = kTurns % 8 == 0 ? 8 : kTurns % 5 == 0 ? 5 : kTurns % 6 == 0 ? 6 : 4;
  lane = renewed(lane);
  const int r = lane / 2;
  const int to = place + piece_at<Shape>(r, lane & 1);
  const TileRow row = row_at(r);
  const std::int64_t at = row.row * params.qkv_cols + std::int64_t(row.head) * params.head_dim;
  if (params.dtype == Element<Type>::kDType && wide_access(params.qkv, params.qkv_cols, params.head_dim)) {
    const char* from = static_cast<const char*>(params.qkv) + at * kBytes;
#pragma unroll
    for (int first = 0; first < kTurns; first += kAtOnce) {
      uint4 values[kAtOnce];
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        const int piece = 2 * (first + i) + (lane & 1);
        values[i] = make_uint4(0, 0, 0, 0);
        if (row.real && piece * 16 < params.head_dim * kBytes) values[i] = *reinterpret_cast<const uint4*>(from + piece * 16);
      }
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        *reinterpret_cast<uint4*>(ptx::shared_memory() + piece_pair<Shape>(to, first + i)) = values[i];
      }
    }
  } else {
#pragma unroll 1
    for (int dim = lane & 1; dim < Shape::kHeadDim; dim += 2) {
      const float value = row.real && dim < params.head_dim ? read_number(params.qkv, params.dtype, at + dim) : 0.0f;
      write_number(ptx::shared_memory() + place + piece_at<Shape>(r, dim * kBytes / 16), Element<Type>::kDType, dim % (16 / kBytes), value);
    }
  }
}

// A warp's queries, from rows that fill_queries has left: 16-bit ones as the A fragments of m16n8k16.
template <class Shape, bool Kept>
class Query {
 public:
  __device__ __forceinline__ void take(int place, int lane) {
    lane = renewed(lane);
    if constexpr (Shape::kHalf) {
      place_ = place + matrix_lane<Shape>(lane);
    } else {
      place_ = place;
      row_ = lane / 4;
    }
    if constexpr (Kept) {
#pragma unroll
      for (int k = 0; k < Shape::kHeadDim / 16; ++k) read(k, kept_[k]);
    }
  }

  __device__ __forceinline__ void fragment(int k, std::uint32_t (&a)[4]) const {
    if constexpr (Kept) {
#pragma unroll
      for (int i = 0; i < 4; ++i) a[i] = kept_[k][i];
    } else {
      read(k, a);
    }
  }

  // f32: four dims of row lane / 4 + 8 * r.
  __device__ __forceinline__ float4 quad(int r, int piece) const {
    return *reinterpret_cast<const float4*>(ptx::shared_memory() + place_ + piece_at<Shape>(row_ + 8 * r, piece));
  }

 private:
  __device__ __forceinline__ void read(int k, std::uint32_t (&a)[4]) const {
    ptx::ldmatrix_x4(a, ptx::shared_memory() + piece_pair<Shape>(place_, k));
  }

  int place_;
  int row_ = 0;
  std::uint32_t kept_[Kept ? Shape::kHeadDim / 16 : 1][4];
};

// ---- output -------------------------------------------------------------------------------------

// Which column of the output a lane's element e of a row is. Elements e and e + 1 are neighbours for even e.
template <class Type>
__device__ __forceinline__ int column_of(int e, int lane) {
  if constexpr (Element<Type>::kBytes == 2) return e / 2 * 8 + (lane & 3) * 2 + e % 2;  // C fragments of mma
  return e / 4 * 16 + (lane & 3) * 4 + e % 4;
}

// Writes 16 finished rows, of which this warp has the columns from first_dim on. `memory` is the warp's own for the time.
template <class Type, int Columns, class RowAt>
__device__ __forceinline__ void write_rows(const AttentionParams& params, RowAt row_at, const SoftmaxState<Columns> (&state)[2],
                                           char* memory, int first_dim, int lane) {
  constexpr int kDims = Columns * 4;
  constexpr int kRowBytes = kDims * 4 + 16;
  lane = renewed(lane);
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const float inverse = inverse_sum(state[r].l);
    char* to = memory + (lane / 4 + 8 * r) * kRowBytes;
#pragma unroll
    for (int e = 0; e < Columns; e += 2) {
      *reinterpret_cast<float2*>(to + column_of<Type>(e, lane) * 4) =
          make_float2(finished(state[r].o[e], inverse), finished(state[r].o[e + 1], inverse));
    }
  }
  __syncwarp();
  const TileRow row = row_at(lane / 2);
  if (!row.real) return;
  const std::int64_t cols = std::int64_t(params.heads) * params.head_dim;
  const std::int64_t at = row.row * cols + std::int64_t(row.head) * params.head_dim + first_dim;
  const int last = min(params.head_dim - first_dim, kDims);
  const bool wide = wide_access(params.out, cols, params.head_dim);
  const float* from = reinterpret_cast<const float*>(memory + lane / 2 * kRowBytes);
#pragma unroll 1
  for (int column = lane % 2 * 8; column < last; column += 16) {
    if (!wide) {
      for (int c = column; c < min(column + 8, last); ++c) write_number(params.out, params.dtype, at + c, from[c]);
      continue;
    }
    const float4 low = *reinterpret_cast<const float4*>(from + column);
    const float4 high = *reinterpret_cast<const float4*>(from + column + 4);
    if (params.dtype == DType::f32) {
      float* to = static_cast<float*>(params.out) + at + column;
      *reinterpret_cast<float4*>(to) = low;
      *reinterpret_cast<float4*>(to + 4) = high;
    } else {
      std::uint16_t* to = static_cast<std::uint16_t*>(params.out) + at + column;
      *reinterpret_cast<uint4*>(to) =
          make_uint4(narrow_pair(params.dtype, low.x, low.y), narrow_pair(params.dtype, low.z, low.w),
                     narrow_pair(params.dtype, high.x, high.y), narrow_pair(params.dtype, high.z, high.w));
    }
  }
}

}  // namespace splitwiser::attention
