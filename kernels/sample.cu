// Sampling: a block a row. By the one definition of sampling.hpp.
#include "sample.hpp"

#include "sample_log.hpp"
#include "sample_pick.cuh"
#include "sample_row.cuh"

namespace splitwiser::sampling {

__device__ __forceinline__ std::int32_t sample_token(const SampleSlot& slot, const Tokens& row) {
  const Best best = best_of(row);
  const SamplingParams& params = slot.params;
  if (!(params.temperature > 0) || !(best.logit > kForbidden)) return best.id;
  Filter filter{.highest = best.logit, .scale = tempered_scale(params.temperature), .least_weight = min_p_limit(params.min_p)};
  Tokens tokens = row;
  if (params.top_k > 0 && params.top_k < row.count) tokens = apply_top_k(row, params.top_k, filter);
  if (params.top_p < 1) tokens = apply_top_p(tokens, params.top_p, filter);
  return draw(tokens, filter, random_bits(slot.seed, slot.choice, slot.position));
}

__device__ __forceinline__ void sample_body(const SampleParams& params) {
  for (std::int64_t i = blockIdx.x; i < real_count(params); i += gridDim.x) {
    const SampleSlot& slot = params.slots[i];
    if (slot.sample == 0) continue;
    float* logits = params.logits + slot.row * params.vocab;
    adjust_row(params, slot, logits);
    const std::int32_t token = sample_token(slot, {logits, nullptr, int(params.vocab)});
    const float logprob = slot.top_logprobs >= 0 ? logprob_before(params, slot, i, logits, token) : 0.0f;
    if (threadIdx.x == 0) {
      params.outputs[i] = {token, logprob};
      if (params.tokens != nullptr) params.tokens[i] = token;
    }
  }
}

}  // namespace splitwiser::sampling

using namespace splitwiser;

SPLITWISER_KERNEL(sample, SampleParams, 512, 1) { sampling::sample_body(params); }
