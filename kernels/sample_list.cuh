// Lists of tokens in shared memory, by ascending id.
#pragma once

#include "sample_block.cuh"

namespace splitwiser::sampling {

struct AnyRank {
  __device__ __forceinline__ bool operator()(std::uint64_t) const { return true; }
};

// Writes the tokens for which wanted(logit), by ascending id, to ids and logits (not where `tokens` are), and
// returns how many there are. More than `most` are cut off there, or, unless `cut`, not written at all.
// near_enough(rank) of a scanned row: may a piece whose best token has this rank have any?
template <typename Wanted, typename NearEnough = AnyRank>
__device__ __forceinline__ std::uint32_t list_tokens(const Tokens& tokens, const Wanted& wanted, std::uint32_t most, bool cut,
                                                     std::int32_t* ids, float* logits,
                                                     const NearEnough& near_enough = {}) {
  // A lane takes four logits, a warp a chunk of 128 times 2^n. Warps count, the counts are summed up, and chunks that have
  // any are read once more.
  const int start = -beyond_16(tokens.logits);
  int chunk_size = 128;
  while ((tokens.count - start + chunk_size - 1) / chunk_size > kMostChunks) chunk_size *= 2;
  const int chunks = (tokens.count - start + chunk_size - 1) / chunk_size;
  std::uint32_t* counts = shared().chunk_counts;
  // Bit j: the lane's logit j is wanted.
  const auto wanted_of = [&](int at, const float4& x) {
    const auto one = [&](int index, float logit) {
      return unsigned(index) < unsigned(tokens.count) && wanted(logit) ? 1u : 0u;
    };
    return one(at, x.x) | one(at + 1, x.y) << 1 | one(at + 2, x.z) << 2 | one(at + 3, x.w) << 3;
  };
  const auto load = [&](int at) { return load_four(tokens.logits, at, 0, tokens.count); };
  __syncthreads();
  // 0 is right for a chunk of pieces that have none; the others' counts follow.
  for (int chunk = int(threadIdx.x); chunk < chunks; chunk += int(blockDim.x)) {
    std::uint32_t worth = tokens.best == nullptr ? 1 : 0;
    if (tokens.best != nullptr) {
      const int end = ((chunk + 1) * chunk_size - 1) / kScanPiece;
      for (int piece = chunk * chunk_size / kScanPiece; piece <= end && piece * kScanPiece < tokens.count - start; piece++) {
        if (near_enough(tokens.best[piece])) worth = 1;
      }
    }
    counts[chunk] = worth;
  }
  __syncthreads();
  const auto next_worth = [&](int chunk) {
    while (chunk < chunks && counts[chunk] == 0) chunk += warps_of();
    return chunk;
  };
  const auto lane_begin = [&](int chunk) { return start + chunk * chunk_size + 4 * lane_of(); };
  int chunk = next_worth(warp_of());
  float4 next = load(lane_begin(chunk));
  while (chunk < chunks) {
    const int after = next_worth(chunk + warps_of());
    std::uint32_t count = 0;
    for (int i = 0; i < chunk_size; i += 128) {
      const int at = lane_begin(chunk) + i;
      const float4 x = next;
      next = load(i + 128 < chunk_size ? at + 128 : lane_begin(after));
      count += std::uint32_t(__popc(wanted_of(at, x)));
    }
    count = __reduce_add_sync(kWholeWarp, count);
    __syncwarp();
    if (lane_of() == 0) counts[chunk] = count;
    chunk = after;
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
      std::uint32_t to = counts[chunk];
      const std::uint32_t end = counts[chunk + 1] < most ? counts[chunk + 1] : most;
      for (int i = 0; to < end; i += 128) {
        const int at = start + chunk * chunk_size + i + 4 * lane_of();
        const float4 x = load(at);
        const std::uint32_t bits = wanted_of(at, x);
        const auto count = std::uint32_t(__popc(bits));
        const std::uint32_t running = warp_running_sum(count);
        std::uint32_t mine = to + running - count;
        const float four[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
        for (int j = 0; j < 4; j++) {
          if ((bits >> j & 1) == 0) continue;
          if (mine < end) {
            ids[mine] = tokens.id(at + j);
            logits[mine] = four[j];
          }
          mine++;
        }
        to += __shfl_sync(kWholeWarp, running, 31);
      }
    }
  }
  __syncthreads();
  return total;
}

}  // namespace splitwiser::sampling
