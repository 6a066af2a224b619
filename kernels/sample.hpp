// Sampling and logprobs on the device, by the one definition of sampling.hpp. The face of sample.cu.
#pragma once

#include <cstdint>

#include "launch.hpp"
#include "sampling.hpp"
#include "types.hpp"

namespace splitwiser {

// What one row wants; the device's form of backend.hpp's SampleRow. Slots have different rows. Their entries lie one slot
// after the other: counts_begin, bias_begin and forbidden_begin are the numbers of entries of the slots before.
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
  std::int32_t forbidden_begin, forbidden_end;  // of SampleParams::forbidden
};

struct SampleOutput {
  std::int32_t token;
  float logprob;                     // of token, from the logits as they came; 0 where none is wanted
};

struct LogprobOutput {
  std::int32_t token;
  float logprob;
};

inline constexpr int kMaxTopLogprobs = 64;

struct SampleParams {
  float* logits;                     // [*, vocab]; changed in place by penalties, bias, forbidden
  const SampleSlot* slots;           // device [count]
  const TokenCount* counts;
  const TokenBias* bias;
  const std::int32_t* forbidden;
  SampleOutput* outputs;             // [count]: device or pinned host memory
  LogprobOutput* top;                // [count, kMaxTopLogprobs], best first, {-1, -inf} beyond the vocabulary; null where
                                     // no slot wants any
  std::int32_t* tokens;              // [count] or null: the drawn token also goes here (the next step's token_ids)
  const std::int32_t* real_count;    // device, or null: count
  std::uint64_t* scratch;            // sample_scratch_bytes(...): between the two launches; null where nothing is wanted
  std::int64_t vocab;
  std::int32_t count;
};
// Of logprobs. `entries`: of counts, bias and forbidden of all slots together; 0 in decode graphs.
[[nodiscard]] std::int64_t sample_scratch_bytes(std::int64_t count, std::int64_t entries);
// At most two launches, in order: logprobs of the untouched logits (grid 0 where no slot wants any), then sampling.
[[nodiscard]] LaunchPlan plan_logprobs(const SampleParams& params, bool wanted, const DeviceShape& device);
[[nodiscard]] LaunchPlan plan_sample(const SampleParams& params, const DeviceShape& device);

}  // namespace splitwiser
