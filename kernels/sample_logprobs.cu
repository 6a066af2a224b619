// Log-probabilities of logits as they came: a block a row. logprobs_host.hpp's order; values by sample_log.hpp.
#include "sample.hpp"

#include "sample_log.hpp"
#include "sample_pick.cuh"
#include "sample_row.cuh"

namespace splitwiser::sampling {

// The `count` best (<= vocab) to `out`, best first, lowest id first among equals.
__device__ __forceinline__ void best_tokens(const Tokens& row, float highest, std::uint32_t count,
                                            const RowNormalizer& normalizer, LogprobOutput* out) {
  const auto one = [](float) { return std::uint64_t(1); };
  clear_histogram();
  each(row, [&](int, float logit) { add_to_bin(coarse_bin(logit, highest), 1); });
  const Selected cut = select_bin([&](std::uint64_t) { return std::uint64_t(count); });
  Tokens tokens = row;
  if (cut.up_to_bin <= kMostListed) tokens = listed_or_all(row, highest, cut.bin, [](float) { return true; });
  const KeyBorder border = key_border(tokens, highest, cut.bin, cut.need, one);
  const auto above = [&](float logit) { return logit_key(logit) > border.key; };
  const auto tied = [&](float logit) { return logit_key(logit) == border.key; };
  const auto ties = std::uint32_t(border.need);
  const std::uint32_t greater = count - ties;
  std::int32_t* ids = shared().best_ids;
  float* logits = shared().best_logits;
  list_tokens(tokens, above, greater, true, ids, logits);
  list_tokens(tokens, tied, ties, true, ids + greater, logits + greater);
  // A token's place is the number of better ones; both lists are by ascending id.
  for (std::uint32_t i = threadIdx.x; i < count; i += blockDim.x) {
    const std::uint32_t key = logit_key(logits[i]);
    std::uint32_t place = 0;
    for (std::uint32_t j = 0; j < count; j++) {
      const std::uint32_t other = logit_key(logits[j]);
      if (other > key || (other == key && ids[j] < ids[i])) place++;
    }
    out[place] = {ids[i], logprob_of(logits[i], normalizer.highest, normalizer.log_sum)};
  }
}

__device__ __forceinline__ void logprobs_body(const SampleParams& params) {
  for (std::int64_t i = blockIdx.x; i < real_count(params); i += gridDim.x) {
    const SampleSlot& slot = params.slots[i];
    const std::int64_t vocab = params.vocab;
    const Tokens row{params.logits + slot.row * vocab, nullptr, int(vocab)};
    RowNormalizer normalizer{0, kForbidden, 0};
    const bool known = slot.sample != 0 || (slot.target >= 0 && slot.target < vocab);
    if (slot.top_logprobs >= 0 && known) {
      normalizer.highest = best_of(row).logit;
      if (normalizer.highest > kForbidden) {
        std::uint64_t sum = 0;
        each(row, [&](int, float logit) { sum += token_weight(logit, normalizer.highest, kNaturalScale); });
        normalizer.log_sum = log_of_total(block_sum(sum));
      }
    }
    if (threadIdx.x == 0) {
      if (slot.top_logprobs >= 0) normalizer_of(params, i) = normalizer;
      if (slot.sample == 0) {
        const bool wanted = slot.top_logprobs >= 0 && known;
        params.outputs[i] = {slot.target,
                             wanted ? logprob_of(row.logits[slot.target], normalizer.highest, normalizer.log_sum) : 0.0f, -1};
      }
    }
    if (slot.top_logprobs <= 0) continue;
    const std::int64_t wanted = slot.top_logprobs < kMaxTopLogprobs ? slot.top_logprobs : kMaxTopLogprobs;
    const std::int64_t count = !known ? 0 : wanted < vocab ? wanted : vocab;
    LogprobOutput* out = params.top + i * kMaxTopLogprobs;
    for (std::int64_t j = count + threadIdx.x; j < wanted; j += blockDim.x) out[j] = {-1, kForbidden};
    if (count > 0) best_tokens(row, normalizer.highest, std::uint32_t(count), normalizer, out);
  }
}

}  // namespace splitwiser::sampling

using namespace splitwiser;

SPLITWISER_KERNEL(logprobs, SampleParams, 512, 1) { sampling::logprobs_body(params); }
