// The host's sampling for sample.py, by a C interface.
#include "logprobs_host.hpp"
#include "sample_log.hpp"
#include "sampling_host.hpp"

using namespace splitwiser;

extern "C" std::int32_t host_sample(float* logits, std::int64_t vocab, const SamplingParams* params, const TokenCount* counts,
                                    std::int64_t count_entries, const TokenBias* bias, std::int64_t bias_entries,
                                    const std::int32_t* forbidden, std::int64_t forbidden_entries, std::uint64_t seed,
                                    std::uint32_t choice, std::uint32_t position) {
  static SampleScratch scratch;
  return sample_row({logits, std::size_t(vocab)}, *params, {counts, std::size_t(count_entries)},
                    {bias, std::size_t(bias_entries)}, {forbidden, std::size_t(forbidden_entries)}, seed, choice, position,
                    scratch);
}

struct Entry {
  std::int32_t token;
  float logprob;
};

// Returns how many; `of` is a token whose logprob goes to `logprob`.
extern "C" std::int32_t host_logprobs(const float* logits, std::int64_t vocab, std::int32_t top, std::int32_t of, Entry* out,
                                      float* logprob) {
  const std::span<const float> row{logits, std::size_t(vocab)};
  std::vector<Entry> entries;
  top_logprobs(row, std::size_t(top), entries);
  std::copy(entries.begin(), entries.end(), out);
  *logprob = log_softmax_at(row, of);
  return std::int32_t(entries.size());
}
