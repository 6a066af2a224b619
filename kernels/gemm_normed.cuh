// A narrow GEMM's tokens in shared memory, normalised by the block itself: for few tokens cheaper than a norm kernel's launch,
// and the weights are on their way meanwhile. Sums are those of rows_norm.cuh: a warp plays all of that kernel's warps.
#pragma once

#include "gemm_tile.cuh"
#include "rows_norm_math.cuh"

namespace splitwiser::gemm {

// [K steps of 128 bytes][BlockN tokens], each step laid out as a stage's tokens are (tile_offset), then the rows' statistics.
// plan_gemm sees to it that a row has no more vectors of eight than the block has threads.
template <typename T, int BlockN>
class NormedTokens {
 public:
  static constexpr int kStepBytes = BlockN * 128;

  __device__ __forceinline__ NormedTokens(const GemmParams& params, char* memory, int tokens)
      : params_(params),
        memory_(memory),
        tokens_(tokens),
        vectors_(static_cast<int>(params.k) / rows::kEight),
        padded_chunks_(k_units(params) * (kGemmKAlign * kBytesOf<T> / 16)) {}

  // Starts the copy of the rows as they are; tokens beyond the last and elements beyond k are zero.
  __device__ __forceinline__ void load(int warp, int lane) const {
#pragma unroll 1
    for (int row = warp; row < BlockN; row += kNarrowWarps) {
      const char* from = static_cast<const char*>(params_.x) + std::int64_t(row) * params_.k * kBytesOf<T>;
      const int real = row < tokens_ ? vectors_ * kChunks : 0;
#pragma unroll 1
      for (int chunk = lane; chunk < padded_chunks_; chunk += 32) {
        ptx::cp_async_16(at(row, chunk), from + chunk * 16, chunk < real ? 16 : 0);
      }
    }
  }

  // Once this thread's copies are there: each row's mean and scale, by the warp that copied it, then every thread a vector
  // of all rows.
  __device__ __forceinline__ void normalize(int warp, int lane) const {
    __syncwarp();
    float2* const statistics = reinterpret_cast<float2*>(memory_ + k_units(params_) * kStepsPerUnit<T, 128> * kStepBytes);
#pragma unroll 1
    for (int row = warp; row < tokens_; row += kNarrowWarps) {
      const float count = static_cast<float>(params_.k);
      float mean = 0.0f;
      float variance;
      const auto squares = [&](float sum, const rows::Eight& x) { return rows::add_squares(sum, x, mean, rows::kEight); };
      if (params_.norm.rms) {
        variance = __fdiv_rn(row_sum(row, lane, squares), count);
      } else {
        mean = __fdiv_rn(row_sum(row, lane, rows::add_all), count);
        variance = __fdiv_rn(row_sum(row, lane, squares), count);
      }
      if (lane == 0) statistics[row] = make_float2(mean, rows::norm_scale(variance, params_.norm.eps));
    }
    __syncthreads();
    const int vector = static_cast<int>(threadIdx.x);
    if (vector < vectors_) {
      const int first = vector * rows::kEight;
      const rows::Eight weight = rows::load_eight<float, true>(params_.norm.weight + first, rows::kEight, true);
      rows::Eight bias{};
      if (params_.norm.bias != nullptr) bias = rows::load_eight<float, true>(params_.norm.bias + first, rows::kEight, true);
#pragma unroll 1
      for (int row = 0; row < tokens_; ++row) {
        const float2 known = statistics[row];
        rows::Eight x = read(row, vector);
        if (params_.norm.bias != nullptr) {
          rows::normalize(x, known.x, known.y, weight, bias);
        } else {
          rows::normalize(x, known.x, known.y, weight);
        }
        write(row, vector, x);
      }
    }
    __syncthreads();
  }

  [[nodiscard]] __device__ __forceinline__ const char* step(int index) const { return memory_ + index * kStepBytes; }

 private:
  static constexpr int kChunks = rows::kEight * kBytesOf<T> / 16;  // of a vector

  __device__ __forceinline__ char* at(int row, int chunk) const {
    return memory_ + chunk / 8 * kStepBytes + tile_offset<128>(row, chunk % 8);
  }

  __device__ __forceinline__ rows::Eight read(int row, int vector) const {
    using Bits = typename rows::Stored<T>::Type;
    if constexpr (kChunks == 1) {
      return rows::load_eight<T, false>(reinterpret_cast<const Bits*>(at(row, vector)), rows::kEight, true);
    } else {
      const float4 a = *reinterpret_cast<const float4*>(at(row, 2 * vector));
      const float4 b = *reinterpret_cast<const float4*>(at(row, 2 * vector + 1));
      return {{a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w}};
    }
  }
  __device__ __forceinline__ void write(int row, int vector, const rows::Eight& x) const {
    using Bits = typename rows::Stored<T>::Type;
    if constexpr (kChunks == 1) {
      rows::store_eight<T>(reinterpret_cast<Bits*>(at(row, vector)), x, rows::kEight, true);
    } else {
      *reinterpret_cast<float4*>(at(row, 2 * vector)) = make_float4(x.v[0], x.v[1], x.v[2], x.v[3]);
      *reinterpret_cast<float4*>(at(row, 2 * vector + 1)) = make_float4(x.v[4], x.v[5], x.v[6], x.v[7]);
    }
  }

  // The sum that the norm kernel's block makes of a row: each of its warps in turn, here by one.
  template <typename Add>
  __device__ __forceinline__ float row_sum(int row, int lane, const Add& add) const {
    float total = 0.0f;
#pragma unroll 1
    for (int w = 0; w < params_.norm.warps; ++w) {
      float sum = 0.0f;
#pragma unroll 1
      for (int vector = lane + 32 * w; vector < vectors_; vector += 32 * params_.norm.warps) {
        sum = add(sum, read(row, vector));
      }
      sum = rows::warp_sum(sum);
      total = w == 0 ? sum : __fadd_rn(total, sum);
    }
    return total;
  }

  const GemmParams& params_;
  char* memory_;
  int tokens_, vectors_, padded_chunks_;
};

}  // namespace splitwiser::gemm
