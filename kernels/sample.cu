// Sampling: a block a row. By the one definition of sampling.hpp.
#include "sample.hpp"

#include "sample_log.hpp"
#include "sample_pick.cuh"
#include "sample_row.cuh"

namespace splitwiser::sampling {

__device__ __forceinline__ std::int32_t sample_token(const SampleSlot& slot, const Tokens& row, const std::uint64_t* histogram) {
  const Best best = best_of(row);
  const SamplingParams& params = slot.params;
  if (is_greedy(params) || !(best.logit > kForbidden)) return best.id;
  Filter filter = first_filter(params, best.logit);
  Tokens tokens = row;
  const bool top_k = cuts_top_k(params, row), top_p = params.top_p < 1;
  if (top_k) tokens = apply_top_k(row, params.top_k, filter, histogram);
  if (top_p) tokens = apply_top_p(tokens, params.top_p, filter, top_k ? nullptr : histogram);
  return draw(tokens, filter, random_bits(slot.seed, slot.choice, slot.position), top_k || top_p ? nullptr : histogram);
}

__device__ __forceinline__ void sample_body(const SampleParams& params) {
  for (std::int64_t i = blockIdx.x; i < real_count(params); i += gridDim.x) {
    const SampleSlot& slot = params.slots[i];
    if (slot.sample == 0) continue;
    if (!draws(params, i)) {
      if (threadIdx.x == 0) {
        params.outputs[i] = {kRowEnded, 0, -1};
        if (params.tokens != nullptr) params.tokens[i] = kRowEnded;
      }
      continue;
    }
    const Tokens row = row_of(params, i);
    const std::int32_t token = sample_token(slot, row, params.scan != nullptr ? histogram_of(params, i) : nullptr);
    const float logprob = slot.top_logprobs >= 0 ? logprob_before(params, slot, i, row.logits, token) : 0.0f;
    const std::int32_t ending = ending_of(params, slot, token);
    if (threadIdx.x == 0) {
      params.outputs[i] = {token, logprob, ending};
      if (params.tokens != nullptr) params.tokens[i] = ending < 0 ? token : kRowEnded;
    }
  }
}

}  // namespace splitwiser::sampling

using namespace splitwiser;

SPLITWISER_KERNEL(sample, SampleParams, 512, 1) { sampling::sample_body(params); }
