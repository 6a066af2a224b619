// What a block of the sampling kernels works with: its shared memory, passes over logits, sums, scans, histograms.
// Every function here that the whole block calls has a barrier before it writes shared memory that an earlier one reads.
#pragma once

#include <cstdint>

#include "ptx.cuh"
#include "sample.hpp"

namespace splitwiser::sampling {

inline constexpr std::uint32_t kWholeWarp = 0xFFFFFFFFu;
inline constexpr int kBins = 256;
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

// Tokens by ascending id: a row of logits (ids null: an index is an id), or what was listed of it.
struct Tokens {
  const float* logits;
  const std::int32_t* ids;
  std::int64_t count;
  __device__ __forceinline__ std::int32_t id(std::int64_t index) const {
    return ids != nullptr ? ids[index] : static_cast<std::int32_t>(index);
  }
};

__device__ __forceinline__ int lane_of() { return int(threadIdx.x) % 32; }
__device__ __forceinline__ int warp_of() { return int(threadIdx.x) / 32; }
__device__ __forceinline__ int warps_of() { return int(blockDim.x) / 32; }

// body(index, logit) for begin <= index < end, by `threads` threads of which this is number `thread`, in no order.
template <typename Body>
__device__ __forceinline__ void each(const Tokens& tokens, std::int64_t begin, std::int64_t end, int thread, int threads,
                                     const Body& body) {
  const float* logits = tokens.logits;
  const std::int64_t before = (16 - (reinterpret_cast<std::uintptr_t>(logits + begin) & 15)) % 16 / 4;
  const std::int64_t wide = begin + before < end ? begin + before : end;
  if (begin + thread < wide) body(begin + thread, logits[begin + thread]);  // at most 3 of them
  const std::int64_t vectors = (end - wide) / 4;
  const float4* from = reinterpret_cast<const float4*>(logits + wide);
  const auto four = [&](std::int64_t vector, const float4& x) {
    body(wide + 4 * vector, x.x);
    body(wide + 4 * vector + 1, x.y);
    body(wide + 4 * vector + 2, x.z);
    body(wide + 4 * vector + 3, x.w);
  };
  std::int64_t i = thread;
  for (; i + threads < vectors; i += 2 * threads) {  // two loads under way
    const float4 a = from[i], b = from[i + threads];
    four(i, a);
    four(i + threads, b);
  }
  if (i < vectors) four(i, from[i]);
  const std::int64_t rest = wide + 4 * vectors + thread;
  if (rest < end) body(rest, logits[rest]);
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

__device__ __forceinline__ std::uint64_t block_max(std::uint64_t value) {
#pragma unroll
  for (int lane = 16; lane > 0; lane /= 2) {
    const std::uint64_t other = __shfl_xor_sync(kWholeWarp, value, lane);
    if (other > value) value = other;
  }
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
      bins[i] = std::uint64_t(shared().histogram.high[bin]) << 32 | shared().histogram.low[bin];
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

// ---- lists ---------------------------------------------------------------------------------------

// Writes the tokens for which wanted(logit), by ascending id, to ids and logits (not where `tokens` are), and
// returns how many there are. More than `most` are cut off there, or, unless `cut`, not written at all.
template <typename Wanted>
__device__ __forceinline__ std::uint32_t list_tokens(const Tokens& tokens, const Wanted& wanted, std::uint32_t most, bool cut,
                                                     std::int32_t* ids, float* logits) {
  // Warps count in chunks, the counts are summed up, and chunks that have any are read once more.
  const std::int64_t chunk_size = 128 * ((tokens.count + 128 * kMostChunks - 1) / (128 * kMostChunks));
  const int chunks = int((tokens.count + chunk_size - 1) / chunk_size);
  std::uint32_t* counts = shared().chunk_counts;
  const auto wanted_at = [&](std::int64_t index, float& logit) {
    if (index >= tokens.count) return false;
    logit = tokens.logits[index];
    return bool(wanted(logit));
  };
  __syncthreads();
  for (int chunk = warp_of(); chunk < chunks; chunk += warps_of()) {
    std::uint32_t count = 0;
#pragma unroll 4
    for (std::int64_t i = 0; i < chunk_size; i += 32) {
      float logit = 0;
      count += wanted_at(chunk * chunk_size + i + lane_of(), logit) ? 1u : 0u;
    }
    count = __reduce_add_sync(kWholeWarp, count);
    if (lane_of() == 0) counts[chunk] = count;
  }
  __syncthreads();

  // Each thread sums a run of chunks.
  const int run = (chunks + int(blockDim.x) - 1) / int(blockDim.x);
  const int first = int(threadIdx.x) * run;
  std::uint32_t sum = 0;
  for (int i = first; i < first + run && i < chunks; i++) sum += counts[i];
  const std::uint32_t running = warp_running_sum(sum);
  if (lane_of() == 31) shared().warp_sums[warp_of()] = running;
  __syncthreads();
  std::uint32_t before = running - sum, total = 0;
  for (int i = 0; i < warps_of(); i++) {
    const auto of_warp = static_cast<std::uint32_t>(shared().warp_sums[i]);
    if (i < warp_of()) before += of_warp;
    total += of_warp;
  }
  for (int i = first; i < first + run && i < chunks; i++) {
    const std::uint32_t count = counts[i];
    counts[i] = before;
    before += count;
  }
  if (threadIdx.x == 0) counts[chunks] = total;
  __syncthreads();

  if (cut || total <= most) {
    for (int chunk = warp_of(); chunk < chunks; chunk += warps_of()) {
      std::uint32_t at = counts[chunk];
      const std::uint32_t end = counts[chunk + 1] < most ? counts[chunk + 1] : most;
      for (std::int64_t i = 0; at < end; i += 32) {
        const std::int64_t index = chunk * chunk_size + i + lane_of();
        float logit = 0;
        const bool is_wanted = wanted_at(index, logit);
        const std::uint32_t lanes = __ballot_sync(kWholeWarp, is_wanted);
        const std::uint32_t to = at + std::uint32_t(__popc(lanes & ((1u << lane_of()) - 1)));
        if (is_wanted && to < end) {
          ids[to] = tokens.id(index);
          logits[to] = logit;
        }
        at += std::uint32_t(__popc(lanes));
      }
    }
  }
  __syncthreads();
  return total;
}

}  // namespace splitwiser::sampling
