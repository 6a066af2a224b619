// Sampling and logprobs on the device, by the one definition of sampling.hpp. The face of sample*.cu.
#pragma once

#include <cstdint>

#include "launch.hpp"
#include "sampling.hpp"
#include "types.hpp"

namespace splitwiser {

// What one row wants; the device's form of backend.hpp's SampleRow. Slots have different rows. Their entries lie one slot
// after the other: counts_begin, bias_begin and endings_begin are the numbers of entries of the slots before. Only where nobody
// wants logprobs or changes logits may slots share their endings.
struct SampleSlot {
  SamplingParams params;
  std::uint64_t seed;
  std::int64_t row;                  // of logits
  std::uint32_t choice, position;
  std::int32_t target;               // sample false: whose logprob is wanted
  std::int32_t top_logprobs;         // -1: none wanted
  std::int32_t sample;               // 0: only logprobs
  std::int32_t counts_begin, counts_end;        // of SampleParams::counts
  std::int32_t bias_begin, bias_end;            // of SampleParams::bias
  std::int32_t endings_begin, endings_end;      // of SampleParams::endings: ids that end the row
  std::int32_t forbids_endings;                 // 1: they become -inf
};

struct SampleOutput {
  std::int32_t token;
  float logprob;                     // of token, from the logits as they came; 0 where none is wanted
  std::int32_t ending;               // the first of the slot's endings that the drawn token is, from 0; -1: none
};

struct LogprobOutput {
  std::int32_t token;
  float logprob;
};

inline constexpr int kMaxTopLogprobs = 64;
// In place of a token: the sequence ended before, or with the token that was drawn.
inline constexpr std::int32_t kRowEnded = INT32_MIN;

struct SampleParams {
  float* logits;                     // [*, vocab]; changed in place by penalties, bias, endings that are forbidden
  const SampleSlot* slots;           // device [count]
  const TokenCount* counts;
  const TokenBias* bias;
  const std::int32_t* endings;
  SampleOutput* outputs;             // [count]: device or pinned host memory
  LogprobOutput* top;                // [count, kMaxTopLogprobs], best first, {-1, -inf} beyond the vocabulary; null where
                                     // no slot wants any
  std::int32_t* tokens;              // [count] or null: the drawn token also goes here (the next step's token_ids), or
                                     // kRowEnded where it is one of the endings
  const std::int32_t* ended;         // [count] or null: not 0: the row has ended before, nothing is drawn
  const std::int32_t* real_count;    // device, or null: count
  std::uint64_t* scratch;            // sample_scratch_bytes(...): from logprobs to sample; null where none are wanted
  std::uint64_t* scan;               // sample_scan_bytes(...): from scan to sample; null where that is 0
  std::int64_t vocab;
  std::int32_t count;
};

// One block goes over a row several times. Where rows are long and few, many blocks go over them before, twice, and leave
// what sample needs to read only a little of each: of every piece of a row its best token, and a histogram.
inline constexpr int kScanPiece = 512;  // logits
inline constexpr int kSampleBins = 256;
inline constexpr int kPiecesOfPart = 8;  // of a row: a block of bin_logits has one part
SPLITWISER_HD constexpr std::int64_t bin_parts(std::int64_t vocab) {
  return (vocab + 3 + kScanPiece * kPiecesOfPart - 1) / (kScanPiece * kPiecesOfPart);
}
// Of SampleParams::scan for a slot; a row may begin up to three logits beyond a multiple of 16 bytes.
SPLITWISER_HD constexpr std::int64_t scan_words(std::int64_t vocab) {
  return kSampleBins + (vocab + 3 + kScanPiece - 1) / kScanPiece;
}

// Of logprobs. `entries`: of counts, bias and endings of all slots together; 0 in decode graphs.
[[nodiscard]] std::int64_t sample_scratch_bytes(std::int64_t count, std::int64_t entries);
// 0: sample goes over the rows alone. Tokens are the same either way.
[[nodiscard]] std::int64_t sample_scan_bytes(std::int64_t count, std::int64_t vocab, const DeviceShape& device);
// In this order: logprobs of the untouched logits; penalties, bias and forbidden endings; scan and bins; sampling. A plan
// has grid 0 where no slot wants logprobs, where no slot changes logits, where params.scan is null.
[[nodiscard]] LaunchPlan plan_logprobs(const SampleParams& params, bool wanted, const DeviceShape& device);
[[nodiscard]] LaunchPlan plan_adjust(const SampleParams& params, bool wanted, const DeviceShape& device);
[[nodiscard]] LaunchPlan plan_scan(const SampleParams& params, const DeviceShape& device);
[[nodiscard]] LaunchPlan plan_bins(const SampleParams& params, const DeviceShape& device);
[[nodiscard]] LaunchPlan plan_sample(const SampleParams& params, const DeviceShape& device);

}  // namespace splitwiser
