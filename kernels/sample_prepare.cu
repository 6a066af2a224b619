// What comes before sampling: changes of single logits, a block a row; and of long rows a scan and a histogram, many blocks a
// row. Integers only: neither the grid nor the order of blocks matters.
#include "sample.hpp"

#include "sample_pick.cuh"
#include "sample_row.cuh"

namespace splitwiser::sampling {

__device__ __forceinline__ void adjust_body(const SampleParams& params) {
  for (std::int64_t i = blockIdx.x; i < real_count(params); i += gridDim.x) {
    const SampleSlot& slot = params.slots[i];
    if (slot.sample != 0) adjust_row(params, slot, params.logits + slot.row * params.vocab);
  }
}

// A warp a piece.
__device__ __forceinline__ void scan_body(const SampleParams& params) {
  const std::int64_t pieces = scan_words(params.vocab) - kBins;
  const std::int64_t units = real_count(params) * pieces;
  for (std::int64_t unit = std::int64_t(blockIdx.x) * warps_of() + warp_of(); unit < units;
       unit += std::int64_t(gridDim.x) * warps_of()) {
    const std::int64_t i = unit / pieces;
    const int piece = int(unit - i * pieces);
    if (!draws(params, i)) continue;
    const Tokens row = row_of(params, i);
    std::uint64_t best = 0;
    each(row, piece_begin(row, piece), piece_begin(row, piece + 1), lane_of(), 32,
         [&](int index, float logit) { best = better_rank(best, logit, index); });
    best = warp_max(best);
    std::uint64_t* histogram = histogram_of(params, i);
    if (lane_of() == 0) histogram[kBins + piece] = best;
    // Empty for the bins, which come next.
    for (int bin = piece * 32 + lane_of(); bin < kBins; bin += int(pieces) * 32) histogram[bin] = 0;
  }
}

__device__ __forceinline__ void add_to(std::uint64_t* histogram, int bin, std::uint64_t value) {
  if (value != 0) atomicAdd(reinterpret_cast<unsigned long long*>(histogram + bin), static_cast<unsigned long long>(value));
}

// Pieces first .. last - 1.
__device__ __forceinline__ void add_bins(const Tokens& row, const SamplingParams& params, float highest, int first, int last,
                                         std::uint64_t* histogram) {
  const Filter filter = first_filter(params, highest);
  const bool count = cuts_top_k(params, row);
  if (!count && !(params.top_p < 1)) {
    for (int piece = first + warp_of(); piece < last; piece += warps_of()) {
      std::uint64_t sum = 0;
      each(row, piece_begin(row, piece), piece_begin(row, piece + 1), lane_of(), 32,
           [&](int, float logit) { sum += filter.weight(logit); });
      sum = warp_sum(sum);
      if (lane_of() == 0) add_to(histogram, piece / pieces_of_place(pieces_of(row)), sum);
    }
    return;
  }
  clear_histogram();
  each(row, piece_begin(row, first), piece_begin(row, last), int(threadIdx.x), int(blockDim.x),
       [&](int, float logit) { add_to_coarse_bin(logit, filter, count); });
  __syncthreads();
  for (int bin = int(threadIdx.x); bin < kBins; bin += int(blockDim.x)) add_to(histogram, bin, value_of_bin(bin));
}

__device__ __forceinline__ void bins_body(const SampleParams& params) {
  const std::int64_t parts = bin_parts(params.vocab);
  for (std::int64_t unit = blockIdx.x; unit < real_count(params) * parts; unit += gridDim.x) {
    const std::int64_t i = unit / parts;
    const SampleSlot& slot = params.slots[i];
    if (!draws(params, i) || is_greedy(slot.params)) continue;
    const Tokens row = row_of(params, i);
    const float highest = best_of(row).logit;
    if (!(highest > kForbidden)) continue;
    const int pieces = pieces_of(row), first = int(unit - i * parts) * kPiecesOfPart;
    const int last = first + kPiecesOfPart < pieces ? first + kPiecesOfPart : pieces;
    if (first < last) add_bins(row, slot.params, highest, first, last, histogram_of(params, i));
  }
}

}  // namespace splitwiser::sampling

using namespace splitwiser;

SPLITWISER_KERNEL(adjust_logits, SampleParams, 128, 4) { sampling::adjust_body(params); }
SPLITWISER_KERNEL(scan_logits, SampleParams, 128, 8) { sampling::scan_body(params); }
SPLITWISER_KERNEL(bin_logits, SampleParams, 256, 2) { sampling::bins_body(params); }
