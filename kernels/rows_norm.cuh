// Layer norm and RMS norm of one row by one block. Which elements a thread sums, and in which order, follows from `cols`
// alone (the block's size does too, see plan_norm), so a row has the same bits beside any other rows.
#pragma once

#include "rows.hpp"
#include "rows_norm_math.cuh"

namespace splitwiser::rows {

// Vectors of eight that a thread keeps in registers between the passes: rows of up to 8,192 columns. What lies beyond is
// read again.
inline constexpr int kKept = 4;

// Eight elements as they lie in memory: four registers for a 16-bit type.
template <typename T>
struct Packed {
  std::uint32_t words[4];
  __device__ __forceinline__ void pack(const Eight& from) {
#pragma unroll
    for (int i = 0; i < 4; i++) words[i] = ptx::narrow_pair(T{}, from.v[2 * i], from.v[2 * i + 1]);
  }
  __device__ __forceinline__ Eight unpack() const {
    Eight out;
#pragma unroll
    for (int i = 0; i < 4; i++) {
      out.v[2 * i] = widen(T{}, static_cast<std::uint16_t>(words[i]));
      out.v[2 * i + 1] = widen(T{}, static_cast<std::uint16_t>(words[i] >> 16));
    }
    return out;
  }
};
template <>
struct Packed<float> {
  Eight words;
  __device__ __forceinline__ void pack(const Eight& from) { words = from; }
  __device__ __forceinline__ Eight unpack() const { return words; }
};

template <typename T, bool kWide>
struct NormRow {
  using Bits = typename Stored<T>::Type;
  const Bits* x;
  const Bits* residual;
  Bits* sum;
  std::int64_t cols;

  __device__ __forceinline__ int valid(std::int64_t vector) const {
    if constexpr (kWide) return kEight;
    return static_cast<int>(smaller(cols - vector * kEight, kEight));
  }
  // x + residual, rounded to T: what an addition of its own would have left.
  __device__ __forceinline__ Eight first_read(std::int64_t vector) const {
    const std::int64_t at = vector * kEight;
    Eight out = load_eight<T, false>(x + at, valid(vector), kWide);
    if (residual != nullptr) {
      const Eight other = load_eight<T, false>(residual + at, valid(vector), kWide);
#pragma unroll
      for (int i = 0; i < kEight; i++) out.v[i] = rounded<T>(__fadd_rn(out.v[i], other.v[i]));
    }
    if (sum != nullptr) store_eight<T>(sum + at, out, valid(vector), kWide);
    return out;
  }
  // The same once more; `sum` may have been written over x or residual by then.
  __device__ __forceinline__ Eight read_again(std::int64_t vector) const {
    if (sum != nullptr) return load_eight<T, false>(sum + vector * kEight, valid(vector), kWide);
    return first_read(vector);
  }
};

// kWide: all rows begin at multiples of 16 bytes and hold whole vectors. The sums are the same in both forms.
template <typename T, bool kWide>
__device__ __forceinline__ void norm_rows(const NormParams& params) {
  using Bits = typename Stored<T>::Type;
  constexpr int kKeep = kWide ? kKept : 0;  // element by element the code would be too long
  float* partials = reinterpret_cast<float*>(ptx::shared_memory());
  int half = 0;  // block_sum's partials take turns

  const std::int64_t cols = params.cols;
  const std::int64_t rows = params.real_rows != nullptr ? smaller(*params.real_rows, params.rows) : params.rows;
  const std::int64_t vectors = (cols + kEight - 1) / kEight;
  const int thread = int(threadIdx.x), threads = int(blockDim.x);
  const float count = float(cols);

  for (std::int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
    const std::int64_t base = r * cols;
    const NormRow<T, kWide> row{static_cast<const Bits*>(params.x) + base,
                         params.residual != nullptr ? static_cast<const Bits*>(params.residual) + base : nullptr,
                         params.sum != nullptr ? static_cast<Bits*>(params.sum) + base : nullptr, cols};
    Bits* out = static_cast<Bits*>(params.out) + base;

    Packed<T> kept[kKeep > 0 ? kKeep : 1];
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kKeep; i++) {
      const int vector = thread + i * threads;
      if (vector >= vectors) continue;
      const Eight x = row.first_read(vector);
      kept[i].pack(x);
      sum = params.rms ? add_squares(sum, x, 0.0f, row.valid(vector)) : add_all(sum, x);
    }
    for (std::int64_t vector = thread + std::int64_t(kKeep) * threads; vector < vectors; vector += threads) {
      const Eight x = row.first_read(vector);
      sum = params.rms ? add_squares(sum, x, 0.0f, row.valid(vector)) : add_all(sum, x);
    }
    float mean = 0;
    float variance = __fdiv_rn(block_sum(sum, partials + 32 * half), count);
    half ^= 1;
    if (!params.rms) {
      mean = variance;
      float squares = 0;
#pragma unroll
      for (int i = 0; i < kKeep; i++) {
        const int vector = thread + i * threads;
        if (vector < vectors) squares = add_squares(squares, kept[i].unpack(), mean, row.valid(vector));
      }
      for (std::int64_t vector = thread + std::int64_t(kKeep) * threads; vector < vectors; vector += threads) {
        squares = add_squares(squares, row.read_again(vector), mean, row.valid(vector));
      }
      variance = __fdiv_rn(block_sum(squares, partials + 32 * half), count);
      half ^= 1;
    }
    const float scale = norm_scale(variance, params.eps);

    const auto finish = [&](std::int64_t vector, Eight x) {
      const int valid = row.valid(vector);
      const std::int64_t at = vector * kEight;
      const Eight weight = load_eight<float, true>(params.weight + at, valid, kWide);
      if (params.bias != nullptr) {
        normalize(x, mean, scale, weight, load_eight<float, true>(params.bias + at, valid, kWide));
      } else {
        normalize(x, mean, scale, weight);
      }
      store_eight<T>(out + at, x, valid, kWide);
    };
#pragma unroll
    for (int i = 0; i < kKeep; i++) {
      const int vector = thread + i * threads;
      if (vector < vectors) finish(vector, kept[i].unpack());
    }
    for (std::int64_t vector = thread + std::int64_t(kKeep) * threads; vector < vectors; vector += threads) {
      finish(vector, row.read_again(vector));
    }
  }
}

template <typename T>
__device__ __forceinline__ void norm_body(const NormParams& params) {
  const bool wide = params.cols % kEight == 0 && aligned_16(params.x) && aligned_16(params.residual) &&
                    aligned_16(params.sum) && aligned_16(params.out) && aligned_16(params.weight) && aligned_16(params.bias);
  if (wide) {
    norm_rows<T, true>(params);
  } else {
    norm_rows<T, false>(params);
  }
}

}  // namespace splitwiser::rows
