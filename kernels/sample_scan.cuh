// Rows that many blocks go over before one samples: what they leave, and where its pieces are.
#pragma once

#include "sample_block.cuh"

namespace splitwiser::sampling {

// Pieces begin at a multiple of 16 bytes, the first one before the row where that does not.
__device__ __forceinline__ int pieces_of(const Tokens& row) {
  return (row.count + beyond_16(row.logits) + kScanPiece - 1) / kScanPiece;
}
// Of pieces 0 .. pieces_of(row), the row's length for what lies beyond.
__device__ __forceinline__ int piece_begin(const Tokens& row, int piece) {
  const int begin = piece * kScanPiece - beyond_16(row.logits);
  return begin < 0 ? 0 : begin < row.count ? begin : row.count;
}

// Without filters the histogram is of weights by place: so many pieces a bin.
__device__ __forceinline__ int pieces_of_place(int pieces) { return (pieces + kBins - 1) / kBins; }

// Greater for a token that comes earlier in the order.
__device__ __forceinline__ std::uint64_t better_rank(std::uint64_t best, float logit, int index) {
  const std::uint64_t rank = std::uint64_t(logit_key(logit)) << 32 | (0xFFFFFFFFu - std::uint32_t(index));
  return rank > best ? rank : best;
}

// A slot's part of SampleParams::scan: a histogram, then a rank for each piece.
__device__ __forceinline__ std::uint64_t* histogram_of(const SampleParams& params, std::int64_t slot) {
  return params.scan + slot * scan_words(params.vocab);
}

// The row of logits of a slot.
__device__ __forceinline__ Tokens row_of(const SampleParams& params, std::int64_t slot) {
  const std::uint64_t* best = params.scan != nullptr ? histogram_of(params, slot) + kBins : nullptr;
  return {params.logits + params.slots[slot].row * params.vocab, nullptr, int(params.vocab), best};
}

__device__ __forceinline__ void load_histogram(const std::uint64_t* from) {
  __syncthreads();
  for (int bin = int(threadIdx.x); bin < kBins; bin += int(blockDim.x)) {
    const std::uint64_t value = from[bin];
    shared().histogram.low[bin] = std::uint32_t(value);
    shared().histogram.high[bin] = std::uint32_t(value >> 32);
  }
}

}  // namespace splitwiser::sampling
