// One row's logits before and after penalties, bias and forbidden endings, and the scratch from logprobs to sample.
#pragma once

#include "sample_block.cuh"
#include "sample_log.hpp"

namespace splitwiser::sampling {

// What logprobs leaves for sample: one a slot at the beginning of the scratch. Logits as they were before adjust_logits
// changed them follow, one an entry: counts, bias, endings of a slot, slot after slot.
struct RowNormalizer {
  double log_sum;
  float highest;
  std::uint32_t unused;
};
static_assert(sizeof(RowNormalizer) == 16);

__device__ __forceinline__ std::int64_t real_count(const SampleParams& params) {
  return params.real_count != nullptr && *params.real_count < params.count ? *params.real_count : params.count;
}

// Of a slot that samples: its row goes on.
__device__ __forceinline__ bool draws(const SampleParams& params, std::int64_t slot) {
  return params.slots[slot].sample != 0 && (params.ended == nullptr || params.ended[slot] == 0);
}

__device__ __forceinline__ RowNormalizer& normalizer_of(const SampleParams& params, std::int64_t slot) {
  return reinterpret_cast<RowNormalizer*>(params.scratch)[slot];
}

__device__ __forceinline__ float* saved_logits(const SampleParams& params, const SampleSlot& slot) {
  return reinterpret_cast<float*>(reinterpret_cast<RowNormalizer*>(params.scratch) + params.count) +
         (std::int64_t(slot.counts_begin) + slot.bias_begin + slot.endings_begin);
}

// Threads take entries; ids are distinct within counts and within bias. Ids outside the row are passed over.
template <typename IdOf, typename Change>
__device__ __forceinline__ void change_logits(float* logits, std::int64_t vocab, std::int32_t begin, std::int32_t end,
                                              float* saved, const IdOf& id_of, const Change& change) {
  if (begin == end) return;
  __syncthreads();
  for (std::int32_t i = begin + std::int32_t(threadIdx.x); i < end; i += std::int32_t(blockDim.x)) {
    const std::int32_t id = id_of(i);
    if (id < 0 || id >= vocab) continue;
    if (saved != nullptr) saved[i - begin] = logits[id];
    logits[id] = change(logits[id], i);
  }
}

__device__ __forceinline__ void adjust_row(const SampleParams& params, const SampleSlot& slot, float* logits) {
  const std::int32_t counts = slot.counts_end - slot.counts_begin, bias = slot.bias_end - slot.bias_begin;
  float* saved = slot.top_logprobs >= 0 ? saved_logits(params, slot) : nullptr;
  change_logits(
      logits, params.vocab, slot.counts_begin, slot.counts_end, saved,
      [&](std::int32_t i) { return params.counts[i].token; },
      [&](float logit, std::int32_t i) { return adjust_logit(logit, slot.params, params.counts[i]); });
  if (saved != nullptr) saved += counts;
  change_logits(
      logits, params.vocab, slot.bias_begin, slot.bias_end, saved, [&](std::int32_t i) { return params.bias[i].token; },
      [&](float logit, std::int32_t i) { return bias_logit(logit, params.bias[i].bias); });
  if (saved != nullptr) saved += bias;
  // Endings may come twice: all are saved before any is changed, and changed by atomics.
  if (slot.forbids_endings != 0 && slot.endings_begin < slot.endings_end) {
    __syncthreads();
    const auto each_ending = [&](const auto& body) {
      for (std::int32_t i = slot.endings_begin + std::int32_t(threadIdx.x); i < slot.endings_end;
           i += std::int32_t(blockDim.x)) {
        const std::int32_t id = params.endings[i];
        if (id >= 0 && id < params.vocab) body(i - slot.endings_begin, id);
      }
    };
    if (saved != nullptr) {
      each_ending([&](std::int32_t i, std::int32_t id) { saved[i] = logits[id]; });
      __syncthreads();
    }
    each_ending([&](std::int32_t, std::int32_t id) {
      atomicExch(reinterpret_cast<unsigned*>(logits + id), 0xFF800000u);  // kForbidden
    });
  }
  __syncthreads();
}

// The first of `count` > 0 entries whose id is `token`, or kNoEntry; the same for all threads of the block.
inline constexpr unsigned kNoEntry = 0xFFFFFFFFu;
template <typename IdOf>
__device__ __forceinline__ unsigned first_entry(std::int32_t count, std::int32_t token, const IdOf& id_of) {
  __syncthreads();
  unsigned* first = &shared().chunk_counts[0];
  if (threadIdx.x == 0) *first = kNoEntry;
  __syncthreads();
  for (std::int32_t i = std::int32_t(threadIdx.x); i < count; i += std::int32_t(blockDim.x)) {
    if (id_of(i) == token) atomicMin(first, unsigned(i));
  }
  __syncthreads();
  return *first;
}

// SampleOutput::ending.
__device__ __forceinline__ std::int32_t ending_of(const SampleParams& params, const SampleSlot& slot, std::int32_t token) {
  const std::int32_t endings = slot.endings_end - slot.endings_begin;
  if (endings == 0) return -1;
  // kNoEntry is -1.
  return std::int32_t(first_entry(endings, token, [&](std::int32_t i) { return params.endings[slot.endings_begin + i]; }));
}

// The log-probability of `token` by the logits as they came.
__device__ __forceinline__ float logprob_before(const SampleParams& params, const SampleSlot& slot, std::int64_t index,
                                                const float* logits, std::int32_t token) {
  // The first entry that changed the token has its logit; `first` is that entry's place among the slot's.
  const std::int32_t counts = slot.counts_end - slot.counts_begin, bias = slot.bias_end - slot.bias_begin;
  const std::int32_t forbidden = slot.forbids_endings != 0 ? slot.endings_end - slot.endings_begin : 0;
  const std::int32_t all = counts + bias + forbidden;
  float logit = logits[token];
  if (all > 0) {
    const unsigned first = first_entry(all, token, [&](std::int32_t i) {
      return i < counts          ? params.counts[slot.counts_begin + i].token
             : i < counts + bias ? params.bias[slot.bias_begin + i - counts].token
                                 : params.endings[slot.endings_begin + i - counts - bias];
    });
    if (first != kNoEntry) logit = saved_logits(params, slot)[first];
  }
  const RowNormalizer normalizer = normalizer_of(params, index);
  return logprob_of(logit, normalizer.highest, normalizer.log_sum);
}

}  // namespace splitwiser::sampling
