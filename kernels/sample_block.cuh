// What a block of the sampling kernels works with: its shared memory, passes over logits, sums, histograms.
// Every function here that the whole block calls has a barrier before it writes shared memory that an earlier one reads.
#pragma once

#include <cstdint>

#include "ptx.cuh"
#include "sample.hpp"

namespace splitwiser::sampling {

inline constexpr std::uint32_t kWholeWarp = 0xFFFFFFFFu;
inline constexpr int kBins = kSampleBins;
inline constexpr int kMostListed = 4096;  // tokens that are kept in shared memory once filters have left so few
inline constexpr int kMostChunks = 2048;

// A histogram of 64-bit sums in 32-bit halves, since shared memory has no 64-bit addition.
struct Histogram {
  std::uint32_t low[kBins], high[kBins];
};

struct Shared {
  std::uint64_t warp_sums[32];
  std::uint64_t warp_ties[32];
  std::uint64_t selected[4];
  Histogram histogram;
  std::uint32_t chunk_counts[kMostChunks + 1];  // a running sum once scanned
  std::int32_t best_ids[kMaxTopLogprobs];
  float best_logits[kMaxTopLogprobs];
  alignas(16) std::int32_t ids[kMostListed];    // by ascending id
  alignas(16) float logits[kMostListed];
};
static_assert(sizeof(Shared) <= 48 * 1024);

__device__ __forceinline__ Shared& shared() { return *reinterpret_cast<Shared*>(ptx::shared_memory()); }

// Tokens by ascending id: a row of logits (ids null: an index is an id), or what was listed of it. Ids are 32-bit, so
// places in a row are, too; where a row begins is in the pointer.
struct Tokens {
  const float* logits;
  const std::int32_t* ids;
  int count;
  const std::uint64_t* best = nullptr;  // [pieces]: rank of each piece's best token, where the row was scanned
  __device__ __forceinline__ std::int32_t id(int index) const { return ids != nullptr ? ids[index] : index; }
};

__device__ __forceinline__ int lane_of() { return int(threadIdx.x) % 32; }
__device__ __forceinline__ int warp_of() { return int(threadIdx.x) / 32; }
__device__ __forceinline__ int warps_of() { return int(blockDim.x) / 32; }

// How far logits + index lies beyond a multiple of 16 bytes, in elements.
__device__ __forceinline__ int beyond_16(const float* logits) {
  return int(reinterpret_cast<std::uintptr_t>(logits) & 15) / 4;
}

// logits[at .. at + 3], whose address is a multiple of 16 bytes; those outside begin .. end - 1 are not read.
__device__ __forceinline__ float4 load_four(const float* logits, int at, int begin, int end) {
  if (at >= begin && at + 4 <= end) return *reinterpret_cast<const float4*>(logits + at);
  float4 x{};
  if (at >= begin && at < end) x.x = logits[at];
  if (at + 1 >= begin && at + 1 < end) x.y = logits[at + 1];
  if (at + 2 >= begin && at + 2 < end) x.z = logits[at + 2];
  if (at + 3 >= begin && at + 3 < end) x.w = logits[at + 3];
  return x;
}

// body(index, logit) for begin <= index < end, by `threads` threads of which this is number `thread`, in no order.
template <typename Body>
__device__ __forceinline__ void each(const Tokens& tokens, int begin, int end, int thread, int threads, const Body& body) {
  const float* logits = tokens.logits;
  const int step = 4 * threads;
  int at = begin - beyond_16(logits + begin) + 4 * thread;
  // Two loads are under way while a third one's logits are worked on.
  float4 x = load_four(logits, at, begin, end), next = load_four(logits, at + step, begin, end);
  const auto one = [&](int index, float logit) {
    if (unsigned(index - begin) < unsigned(end - begin)) body(index, logit);
  };
  for (; at < end; at += step) {
    const float4 after = load_four(logits, at + 2 * step, begin, end);
    one(at, x.x);
    one(at + 1, x.y);
    one(at + 2, x.z);
    one(at + 3, x.w);
    x = next;
    next = after;
  }
}

template <typename Body>
__device__ __forceinline__ void each(const Tokens& tokens, const Body& body) {
  each(tokens, 0, tokens.count, int(threadIdx.x), int(blockDim.x), body);
}

__device__ __forceinline__ std::uint64_t warp_sum(std::uint64_t value) {
#pragma unroll
  for (int lane = 16; lane > 0; lane /= 2) value += __shfl_xor_sync(kWholeWarp, value, lane);
  return value;
}
// Of this lane and those below it.
template <typename T>
__device__ __forceinline__ T warp_running_sum(T value) {
#pragma unroll
  for (unsigned distance = 1; distance < 32; distance *= 2) {
    const T below = __shfl_up_sync(kWholeWarp, value, distance);
    if (lane_of() >= int(distance)) value += below;
  }
  return value;
}

__device__ __forceinline__ std::uint64_t warp_max(std::uint64_t value) {
#pragma unroll
  for (int lane = 16; lane > 0; lane /= 2) {
    const std::uint64_t other = __shfl_xor_sync(kWholeWarp, value, lane);
    if (other > value) value = other;
  }
  return value;
}

__device__ __forceinline__ std::uint64_t block_max(std::uint64_t value) {
  value = warp_max(value);
  __syncthreads();
  if (lane_of() == 0) shared().warp_sums[warp_of()] = value;
  __syncthreads();
  for (int i = 0; i < warps_of(); i++) {
    if (shared().warp_sums[i] > value) value = shared().warp_sums[i];
  }
  return value;
}

__device__ __forceinline__ std::uint64_t block_sum(std::uint64_t value) {
  value = warp_sum(value);
  __syncthreads();
  if (lane_of() == 0) shared().warp_sums[warp_of()] = value;
  __syncthreads();
  value = 0;
  for (int i = 0; i < warps_of(); i++) value += shared().warp_sums[i];
  return value;
}

// ---- histograms ----------------------------------------------------------------------------------

__device__ __forceinline__ void clear_histogram() {
  __syncthreads();
  for (int i = int(threadIdx.x); i < kBins; i += int(blockDim.x)) shared().histogram.low[i] = shared().histogram.high[i] = 0;
  __syncthreads();
}

__device__ __forceinline__ std::uint64_t value_of_bin(int bin) {
  return std::uint64_t(shared().histogram.high[bin]) << 32 | shared().histogram.low[bin];
}

// Exact in any order: whoever makes the low half wrap carries one.
__device__ __forceinline__ void add_to_bin(int bin, std::uint64_t value) {
  const auto low = static_cast<std::uint32_t>(value);
  const std::uint32_t old = atomicAdd(&shared().histogram.low[bin], low);
  const std::uint32_t high = static_cast<std::uint32_t>(value >> 32) + (old + low < old ? 1u : 0u);
  if (high != 0) atomicAdd(&shared().histogram.high[bin], high);
}

struct Selected {
  int bin;
  std::uint64_t need;      // what is still needed of the bin, 1 .. in_bin
  std::uint64_t in_bin;
  std::uint64_t up_to_bin; // it included
};

// The first bin at which the running sum reaches need_of(sum of all), which is at least 1 and at most that sum.
template <typename NeedOf>
__device__ __forceinline__ Selected select_bin(const NeedOf& need_of) {
  constexpr int kPerLane = kBins / 32;
  __syncthreads();
  if (warp_of() == 0) {
    std::uint64_t bins[kPerLane], sum = 0;
#pragma unroll
    for (int i = 0; i < kPerLane; i++) {
      const int bin = lane_of() * kPerLane + i;
      bins[i] = value_of_bin(bin);
      sum += bins[i];
    }
    const std::uint64_t running = warp_running_sum(sum);
    const std::uint64_t need = need_of(__shfl_sync(kWholeWarp, running, 31));
    std::uint64_t before = running - sum;
    if (before < need && need <= running) {
#pragma unroll
      for (int i = 0; i < kPerLane; i++) {
        if (before < need && need <= before + bins[i]) {
          shared().selected[0] = std::uint64_t(lane_of() * kPerLane + i);
          shared().selected[1] = need - before;
          shared().selected[2] = bins[i];
          shared().selected[3] = before + bins[i];
        }
        before += bins[i];
      }
    }
  }
  __syncthreads();
  return {int(shared().selected[0]), shared().selected[1], shared().selected[2], shared().selected[3]};
}

}  // namespace splitwiser::sampling
