// The host's row loop over sampling.hpp. No allocation once a scratch has seen the vocabulary, no sort:
// greedy is one pass, top-k and top-p find their border by radix selection over keys.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "logprobs_host.hpp"
#include "sampling.hpp"

namespace splitwiser {

// Working memory of one thread: about 28 bytes a token of the vocabulary. Holds nothing between calls.
struct SampleScratch {
  // The tokens that may be drawn, by ascending id.
  std::vector<std::int32_t> ids;
  std::vector<std::uint32_t> keys;
  std::vector<std::uint64_t> weights;
  // Radix selection narrows a copy.
  std::vector<std::uint32_t> select_keys;
  std::vector<std::uint64_t> select_weights;
  std::array<std::uint32_t, 2048> digit_counts;
  std::array<std::uint64_t, 2048> digit_weights;
  // Logits as they were, to be put back in reverse.
  std::vector<std::pair<std::int32_t, float>> changed;

  void reserve(std::size_t vocab) {
    if (ids.size() >= vocab) return;
    ids.resize(vocab);
    keys.resize(vocab);
    weights.resize(vocab);
    select_keys.resize(vocab);
    select_weights.resize(vocab);
  }
};

// What may be drawn of a row: the first `count` entries of the scratch.
struct KeptTokens {
  std::size_t count = 0;
  std::uint64_t total = 0;  // of weights
  std::int32_t best = 0;    // first of the order
};

namespace sampling {

// Changes single logits for penalties, bias and forbidden tokens, and puts them back at its end, so that
// log-probabilities can still be read from the row. Ids outside the row are passed over.
class AdjustedLogits {
 public:
  AdjustedLogits(std::span<float> logits, const SamplingParams& params, std::span<const TokenCount> counts,
                 std::span<const TokenBias> bias, std::span<const std::int32_t> forbidden, SampleScratch& scratch)
      : logits_(logits), changed_(scratch.changed) {
    changed_.clear();
    changed_.reserve(counts.size() + bias.size() + forbidden.size());
    for (const TokenCount& count : counts) {
      change(count.token, [&](float logit) { return adjust_logit(logit, params, count); });
    }
    for (const TokenBias& entry : bias) {
      change(entry.token, [&](float logit) { return bias_logit(logit, entry.bias); });
    }
    for (const std::int32_t token : forbidden) {
      change(token, [](float) { return kForbidden; });
    }
  }
  ~AdjustedLogits() {
    for (auto entry = changed_.rbegin(); entry != changed_.rend(); ++entry) {
      logits_[std::size_t(entry->first)] = entry->second;
    }
  }
  AdjustedLogits(const AdjustedLogits&) = delete;
  AdjustedLogits& operator=(const AdjustedLogits&) = delete;

 private:
  template <typename Change>
  void change(std::int32_t token, Change&& to) {
    if (token < 0 || std::size_t(token) >= logits_.size()) return;
    float& logit = logits_[std::size_t(token)];
    changed_.emplace_back(token, logit);
    logit = to(logit);
  }

  std::span<float> logits_;
  std::vector<std::pair<std::int32_t, float>>& changed_;
};

// The first token of the order; 0 where all are -inf.
[[nodiscard]] inline std::int32_t first_of_order(std::span<const float> logits) {
  float highest = kForbidden;
  std::size_t best = 0;
  for (std::size_t i = 0; i < logits.size(); i++) {
    if (logits[i] > highest) {  // false for NaN; false for +0 after -0
      highest = logits[i];
      best = i;
    }
  }
  return std::int32_t(best);
}

// Keys are narrowed digit by digit from the top: 11, 11 and 10 bits.
struct Digit {
  int shift;
  std::uint32_t mask;
};
inline constexpr std::array<Digit, 3> kDigits{{{21, 0x7FF}, {10, 0x7FF}, {0, 0x3FF}}};
[[nodiscard]] inline std::uint32_t digit_of(std::uint32_t key, Digit digit) { return key >> digit.shift & digit.mask; }

// The k-th highest of the first `count` select_keys (1 <= k <= count), which it overwrites.
[[nodiscard]] inline std::uint32_t kth_highest_key(SampleScratch& scratch, std::size_t count, std::size_t k) {
  std::uint32_t found = 0;
  for (const Digit digit : kDigits) {
    scratch.digit_counts.fill(0);
    for (std::size_t i = 0; i < count; i++) scratch.digit_counts[digit_of(scratch.select_keys[i], digit)]++;
    std::uint32_t border = digit.mask;
    while (scratch.digit_counts[border] < k) k -= scratch.digit_counts[border--];
    found |= border << digit.shift;
    std::size_t left = 0;
    for (std::size_t i = 0; i < count; i++) {
      if (digit_of(scratch.select_keys[i], digit) == border) scratch.select_keys[left++] = scratch.select_keys[i];
    }
    count = left;
  }
  return found;
}

// Where top-p cuts: keys above `key` stay, and of those equal to it the `ties_kept` lowest ids.
struct TopPBorder {
  std::uint32_t key;
  std::uint64_t ties_kept;
};

// Of the first `count` tokens of the scratch, whose weights are > 0 and sum to more than `limit`.
[[nodiscard]] inline TopPBorder top_p_border(SampleScratch& scratch, std::size_t count, std::uint64_t limit) {
  std::copy_n(scratch.keys.begin(), count, scratch.select_keys.begin());
  std::copy_n(scratch.weights.begin(), count, scratch.select_weights.begin());
  std::uint64_t dropped = 0;
  std::uint32_t found = 0;
  for (const Digit digit : kDigits) {
    scratch.digit_weights.fill(0);
    for (std::size_t i = 0; i < count; i++) {
      scratch.digit_weights[digit_of(scratch.select_keys[i], digit)] += scratch.select_weights[i];
    }
    std::uint32_t border = 0;
    while (dropped + scratch.digit_weights[border] <= limit) dropped += scratch.digit_weights[border++];
    found |= border << digit.shift;
    std::size_t left = 0;
    for (std::size_t i = 0; i < count; i++) {
      if (digit_of(scratch.select_keys[i], digit) != border) continue;
      scratch.select_keys[left] = scratch.select_keys[i];
      scratch.select_weights[left++] = scratch.select_weights[i];
    }
    count = left;
  }
  // Equal keys are equal logits, hence equal weights.
  return {found, top_p_ties_kept(count, scratch.select_weights[0], dropped, limit)};
}

inline void apply_top_p(SampleScratch& scratch, double top_p, KeptTokens& kept) {
  const std::uint64_t limit = top_p_drop_limit(top_p, kept.total);
  const TopPBorder border = top_p_border(scratch, kept.count, limit);
  std::size_t count = 0;
  std::uint64_t ties = 0;
  kept.total = 0;
  for (std::size_t i = 0; i < kept.count; i++) {
    const std::uint32_t key = scratch.keys[i];
    if (key < border.key || (key == border.key && ++ties > border.ties_kept)) continue;
    scratch.ids[count] = scratch.ids[i];
    scratch.weights[count++] = scratch.weights[i];
    kept.total += scratch.weights[i];
  }
  kept.count = count;
}

// Steps 2 to 5 on adjusted logits (at least one).
[[nodiscard]] inline KeptTokens keep_tokens(std::span<const float> logits, const SamplingParams& params,
                                            SampleScratch& scratch) {
  scratch.reserve(logits.size());
  KeptTokens kept;
  kept.best = first_of_order(logits);
  const float highest = logits[std::size_t(kept.best)];
  if (!(params.temperature > 0) || !(highest > kForbidden)) {
    scratch.ids[0] = kept.best;
    scratch.weights[0] = kept.total = std::uint64_t(1) << kWeightBits;
    kept.count = 1;
    return kept;
  }

  std::uint32_t lowest_key = kLowestKey;
  if (params.top_k > 0 && std::size_t(params.top_k) < logits.size()) {
    for (std::size_t i = 0; i < logits.size(); i++) scratch.select_keys[i] = logit_key(logits[i]);
    lowest_key = kth_highest_key(scratch, logits.size(), std::size_t(params.top_k));
  }

  const float scale = tempered_scale(params.temperature);
  const std::uint64_t least = min_p_limit(params.min_p);
  for (std::size_t i = 0; i < logits.size(); i++) {
    const std::uint32_t key = logit_key(logits[i]);
    if (key < lowest_key) continue;
    const std::uint64_t weight = token_weight(logits[i], highest, scale);
    if (weight < least) continue;
    scratch.ids[kept.count] = std::int32_t(i);
    scratch.keys[kept.count] = key;
    scratch.weights[kept.count++] = weight;
    kept.total += weight;
  }
  if (params.top_p < 1) apply_top_p(scratch, params.top_p, kept);
  return kept;
}

}  // namespace sampling

// The token of one row, in [0, logits.size()); -1 for an empty row. `logits` is changed while it runs
// and is as it was on return. Distinct ids in each of `counts` and `bias`.
[[nodiscard]] inline std::int32_t sample_row(std::span<float> logits, const SamplingParams& params,
                                             std::span<const TokenCount> counts, std::span<const TokenBias> bias,
                                             std::span<const std::int32_t> forbidden, std::uint64_t seed,
                                             std::uint32_t choice, std::uint32_t position, SampleScratch& scratch) {
  if (logits.empty()) return -1;
  const sampling::AdjustedLogits adjusted(logits, params, counts, bias, forbidden, scratch);
  if (!(params.temperature > 0)) return sampling::first_of_order(logits);
  const KeptTokens kept = sampling::keep_tokens(logits, params, scratch);
  std::uint64_t target = sampling::draw_target(sampling::random_bits(seed, choice, position), kept.total);
  std::size_t i = 0;
  while (scratch.weights[i] <= target) target -= scratch.weights[i++];  // ends: target < total
  return scratch.ids[i];
}

// The distribution that sample_row draws from: probabilities[logits.size()], 0 for what was filtered out or
// weighs less than 2^-40 of the best. Returns what was kept. `logits` is as it was on return.
inline KeptTokens distribution_row(std::span<float> logits, const SamplingParams& params,
                                   std::span<const TokenCount> counts, std::span<const TokenBias> bias,
                                   std::span<const std::int32_t> forbidden, std::span<double> probabilities,
                                   SampleScratch& scratch) {
  std::fill(probabilities.begin(), probabilities.end(), 0.0);
  if (logits.empty()) return {};
  const sampling::AdjustedLogits adjusted(logits, params, counts, bias, forbidden, scratch);
  const KeptTokens kept = sampling::keep_tokens(logits, params, scratch);
  for (std::size_t i = 0; i < kept.count; i++) {
    probabilities[std::size_t(scratch.ids[i])] = double(scratch.weights[i]) / double(kept.total);
  }
  return kept;
}

}  // namespace splitwiser
