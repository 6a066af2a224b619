// Log-probabilities from integer weights: one definition for host and device. The sum under the logarithm is the sum of
// sampling::token_weight at temperature 1, an integer and so the same in any order of adding. Tokens below 2^-40 of the best
// count as nothing: with 150,000 of them that moves a log-probability by less than 2e-7.
#pragma once

#include "sampling.hpp"

namespace splitwiser::sampling {

inline constexpr float kNaturalScale = 0x1.715476p+0f;  // log2(e): tempered_scale(1)

// log(total / 2^kWeightBits) for total >= 2^kWeightBits; relative error below 1e-14. Area hyperbolic tangent's series.
SPLITWISER_HD inline double log_of_total(std::uint64_t total) {
  double x = mul_rn(double(total), 0x1p-40);
  int exponent = 0;
  for (; x > 1.4142135623730951; exponent++) x = mul_rn(x, 0.5);
  const double s = div_rn(sub_rn(x, 1.0), sub_rn(x, -1.0));
  const double z = mul_rn(s, s);
  double sum = 0;
  for (int odd = 19; odd > 0; odd -= 2) sum = sub_rn(mul_rn(sum, z), -div_rn(1.0, double(odd)));
  return sub_rn(mul_rn(double(exponent), 0.6931471805599453), -mul_rn(mul_rn(2.0, s), sum));
}

// As LogNormalizer::logprob of logprobs_host.hpp.
SPLITWISER_HD inline float logprob_of(float logit, float highest, double log_sum) {
  if (!(logit > kForbidden)) return kForbidden;
  if (logit == highest) return float(-log_sum);  // also +inf
  return float(sub_rn(sub_rn(double(logit), double(highest)), log_sum));
}

}  // namespace splitwiser::sampling
