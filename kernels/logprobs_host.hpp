// Log-probabilities of a row of logits, on the host. The model's own: before penalties and temperature.
// A logit of NaN counts as -inf; a row of nothing but -inf has -inf everywhere.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "sampling.hpp"

namespace splitwiser {

// What log_softmax subtracts: log(sum(exp(logits))) as highest + log(sum(exp(logit - highest))), summed in
// double by ascending id. One pass over the row with an exp each: compute it once per row.
struct LogNormalizer {
  float highest = -std::numeric_limits<float>::infinity();
  double log_sum = 0;

  [[nodiscard]] float logprob(float logit) const {
    constexpr float kNone = -std::numeric_limits<float>::infinity();
    if (!(logit > kNone)) return kNone;
    if (logit == highest) return float(-log_sum);  // also +inf
    return float(double(logit) - double(highest) - log_sum);
  }
};

[[nodiscard]] inline LogNormalizer log_normalizer(std::span<const float> logits) {
  LogNormalizer normalizer;
  for (const float logit : logits) {
    if (logit > normalizer.highest) normalizer.highest = logit;
  }
  if (normalizer.highest == -std::numeric_limits<float>::infinity()) return normalizer;
  double sum = 0;
  for (const float logit : logits) {
    if (logit == normalizer.highest) {
      sum += 1;
    } else if (logit < normalizer.highest) {  // not NaN
      sum += std::exp(double(logit) - double(normalizer.highest));
    }
  }
  normalizer.log_sum = std::log(sum);
  return normalizer;
}

// `token` is in [0, logits.size()).
[[nodiscard]] inline float log_softmax_at(std::span<const float> logits, std::int32_t token,
                                          const LogNormalizer& normalizer) {
  return normalizer.logprob(logits[std::size_t(token)]);
}

[[nodiscard]] inline float log_softmax_at(std::span<const float> logits, std::int32_t token) {
  return log_softmax_at(logits, token, log_normalizer(logits));
}

// The n most probable tokens (fewer if the row is shorter), best first, lowest id first among equals.
// Entry is an aggregate {token, logprob}.
template <typename Entry>
void top_logprobs(std::span<const float> logits, std::size_t n, const LogNormalizer& normalizer,
                  std::vector<Entry>& out) {
  out.clear();
  n = std::min(n, logits.size());
  if (n == 0) return;
  out.reserve(n);
  const auto better = [&](const Entry& a, const Entry& b) {
    const std::uint32_t a_key = sampling::logit_key(logits[std::size_t(a.token)]);
    const std::uint32_t b_key = sampling::logit_key(logits[std::size_t(b.token)]);
    return a_key != b_key ? a_key > b_key : a.token < b.token;
  };
  // A heap with the worst of the best on top; a later token enters only if it is truly greater.
  for (std::size_t i = 0; i < logits.size(); i++) {
    const auto token = std::int32_t(i);
    if (out.size() < n) {
      out.push_back(Entry{token, 0});
      std::push_heap(out.begin(), out.end(), better);
    } else if (sampling::logit_key(logits[i]) > sampling::logit_key(logits[std::size_t(out.front().token)])) {
      std::pop_heap(out.begin(), out.end(), better);
      out.back() = Entry{token, 0};
      std::push_heap(out.begin(), out.end(), better);
    }
  }
  std::sort_heap(out.begin(), out.end(), better);
  for (Entry& entry : out) entry.logprob = normalizer.logprob(logits[std::size_t(entry.token)]);
}

template <typename Entry>
void top_logprobs(std::span<const float> logits, std::size_t n, std::vector<Entry>& out) {
  top_logprobs(logits, n, log_normalizer(logits), out);
}

}  // namespace splitwiser
