// Sampling: one definition for host and device. Given equal logits, options, seed and position, every
// implementation built on this header draws the same token:
//  - f32 operations are single-rounded and in one order (the *_rn helpers; the host is compiled with
//    -ffp-contract=off, the device by intrinsics). Nothing here is fused: multiply-add chains give the
//    same bits with and without FMA hardware, and std::fmaf is slow where there is none;
//  - a token's probability is an integer weight, so that sums are the same in any order of adding;
//  - the order of tokens is (logit descending, id ascending), logits compared by an integer key.
//
// The row, step by step (golden/sampling has the same order):
//   1. penalties, then bias, on single tokens (adjust_logit, bias_logit); forbidden tokens become -inf
//   2. temperature: 0 takes the first token of the order; else tempered_scale(), used inside token_weight()
//   3. top-k: keep keys >= the k-th highest key; ties at the border all stay
//   4. min-p: keep weights >= min_p_limit()
//   5. top-p: from the end of the order, drop while the dropped weight <= top_p_drop_limit() of what 4 left
//   6. draw: with target = draw_target(random_bits(...), sum of weights), the first token by ascending id
//      at which the running sum of weights exceeds the target
// A row of nothing but -inf gives token 0.
//
// sampling_host.hpp is the host's row loop. A rule that lives here must not be written there again.
#pragma once

#include <cstdint>
#include <limits>
#if !defined(__CUDA_ARCH__)
#include <bit>
#endif

#if defined(__FAST_MATH__)
#error "sampling.hpp needs IEEE arithmetic: do not compile with -ffast-math"
#endif

#if defined(__CUDACC__)
#define SPLITWISER_HD __host__ __device__
#else
#define SPLITWISER_HD
#endif

namespace splitwiser {

// ---- what host and device exchange -------------------------------------------------------------

struct SamplingParams {
  float temperature = 0;         // 0 (and anything that is not above 0): greedy
  std::int32_t top_k = 0;        // 0: off
  double top_p = 1;              // 1: off. A double: 1 - 0.999999f is already 1 % off
  float min_p = 0;               // 0: off
  float repetition_penalty = 1;  // above 0; 1: off
  float presence_penalty = 0;
  float frequency_penalty = 0;
};
static_assert(sizeof(SamplingParams) == 32);

struct TokenCount {
  std::int32_t token;
  std::int32_t generated;  // times
  std::int32_t in_prompt;  // not 0: it is there
};
static_assert(sizeof(TokenCount) == 12);

struct TokenBias {
  std::int32_t token;
  float bias;  // -inf forbids the token
};
static_assert(sizeof(TokenBias) == 8);

namespace sampling {

// ---- single-rounded arithmetic -----------------------------------------------------------------

#if defined(__CUDA_ARCH__)
SPLITWISER_HD inline float add_rn(float a, float b) { return __fadd_rn(a, b); }
SPLITWISER_HD inline float sub_rn(float a, float b) { return __fsub_rn(a, b); }
SPLITWISER_HD inline float mul_rn(float a, float b) { return __fmul_rn(a, b); }
SPLITWISER_HD inline float div_rn(float a, float b) { return __fdiv_rn(a, b); }
SPLITWISER_HD inline double sub_rn(double a, double b) { return __dsub_rn(a, b); }
SPLITWISER_HD inline double mul_rn(double a, double b) { return __dmul_rn(a, b); }
SPLITWISER_HD inline double div_rn(double a, double b) { return __ddiv_rn(a, b); }
SPLITWISER_HD inline std::uint32_t bits_of(float value) { return __float_as_uint(value); }
#else
SPLITWISER_HD inline float add_rn(float a, float b) { return a + b; }
SPLITWISER_HD inline float sub_rn(float a, float b) { return a - b; }
SPLITWISER_HD inline float mul_rn(float a, float b) { return a * b; }
SPLITWISER_HD inline float div_rn(float a, float b) { return a / b; }
SPLITWISER_HD inline double sub_rn(double a, double b) { return a - b; }
SPLITWISER_HD inline double mul_rn(double a, double b) { return a * b; }
SPLITWISER_HD inline double div_rn(double a, double b) { return a / b; }
SPLITWISER_HD inline std::uint32_t bits_of(float value) { return std::bit_cast<std::uint32_t>(value); }
#endif

// The high 64 bits of a * b, in 32-bit pieces: there is no portable 128-bit type.
SPLITWISER_HD inline std::uint64_t mul_high(std::uint64_t a, std::uint64_t b) {
  const std::uint64_t a_low = a & 0xFFFFFFFFu, a_high = a >> 32;
  const std::uint64_t b_low = b & 0xFFFFFFFFu, b_high = b >> 32;
  const std::uint64_t low = a_low * b_low;
  const std::uint64_t middle = a_high * b_low + (low >> 32);  // at most (2^32-1)^2 + 2^32-1: no overflow
  const std::uint64_t other = a_low * b_high + (middle & 0xFFFFFFFFu);
  return a_high * b_high + (middle >> 32) + (other >> 32);
}

// ---- order -------------------------------------------------------------------------------------

inline constexpr std::uint32_t kLowestKey = 0x007FFFFFu;  // of -inf

// Greater logit, greater key. -0 counts as +0, NaN as -inf.
SPLITWISER_HD inline std::uint32_t logit_key(float logit) {
  if (logit != logit) return kLowestKey;
  const std::uint32_t bits = bits_of(logit);
  if (bits == 0x80000000u) return 0x80000000u;
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// ---- 1: penalties and bias ---------------------------------------------------------------------

// Once per distinct token, before its bias.
SPLITWISER_HD inline float adjust_logit(float logit, const SamplingParams& params, const TokenCount& count) {
  if (params.repetition_penalty != 1 && (count.generated > 0 || count.in_prompt != 0)) {
    logit = logit > 0 ? div_rn(logit, params.repetition_penalty) : mul_rn(logit, params.repetition_penalty);
  }
  if (count.generated > 0) {
    logit = sub_rn(logit, params.presence_penalty);
    logit = sub_rn(logit, mul_rn(params.frequency_penalty, float(count.generated)));
  }
  return logit;
}

SPLITWISER_HD inline float bias_logit(float logit, float bias) { return add_rn(logit, bias); }

inline constexpr float kForbidden = -std::numeric_limits<float>::infinity();

// ---- 2: temperature and weights ----------------------------------------------------------------

inline constexpr int kWeightBits = 40;  // the most probable token weighs 2^40: 2^23 tokens fit a u64 sum

// log2(e) / temperature (> 0), rounded to f32; a temperature next to 0 gives the greatest finite number.
SPLITWISER_HD inline float tempered_scale(float temperature) {
  constexpr float kGreatest = 0x1.fffffep127f;
  const double scale = div_rn(1.4426950408889634, double(temperature));
  return scale < double(kGreatest) ? float(scale) : kGreatest;
}

// 2^x for |x| <= 0.5: minimax in f32, relative error below 1.1e-7 with all roundings; exactly 1 at 0.
// The coefficients are our own fit of (2^x - 1) / x, least maximum of the relative error.
SPLITWISER_HD inline float exp2_poly(float x) {
  float p = 0x1.41fbbcp-13f;
  p = add_rn(mul_rn(p, x), 0x1.5f3e54p-10f);
  p = add_rn(mul_rn(p, x), 0x1.3b2d4cp-7f);
  p = add_rn(mul_rn(p, x), 0x1.c6aee8p-5f);
  p = add_rn(mul_rn(p, x), 0x1.ebfbdcp-3f);
  p = add_rn(mul_rn(p, x), 0x1.62e430p-1f);
  return add_rn(mul_rn(p, x), 1.0f);
}

// floor(2^((logit - highest) * scale) * 2^40): 0 for -inf, NaN and whatever is below 2^-40 of the highest.
// `highest` is the row's highest logit, above -inf. Temperature is inside `scale`, after the subtraction:
// dividing the logits first would lose what a small temperature makes visible (1500 / 0.01 keeps 6e-5).
SPLITWISER_HD inline std::uint64_t token_weight(float logit, float highest, float scale) {
  if (logit == highest) return std::uint64_t(1) << kWeightBits;  // also +inf, where the difference is NaN
  const float x = mul_rn(sub_rn(logit, highest), scale);
  if (!(x > -41.0f) || logit == kForbidden) return 0;
  // Nearest whole number by an addition that leaves no room for a fraction; x - whole is exact.
  constexpr float kRounder = 12582912.0f;  // 1.5 * 2^23
  const float whole = sub_rn(add_rn(x, kRounder), kRounder);
  const float power = exp2_poly(sub_rn(x, whole));
  const auto mantissa = std::uint64_t(mul_rn(power, 16777216.0f));  // * 2^24: whole, since power is in [0.7, 1.42)
  const int shift = int(whole) + kWeightBits - 24;
  return shift >= 0 ? mantissa << shift : mantissa >> -shift;
}

// ---- 3 to 5: what stays ------------------------------------------------------------------------

// The least weight that min-p keeps; at least 1, since a token of weight 0 is never drawn.
SPLITWISER_HD inline std::uint64_t min_p_limit(float min_p) {
  if (!(min_p > 0)) return 1;
  const double exact = mul_rn(double(min_p < 1 ? min_p : 1.0f), 1099511627776.0);  // * 2^40: exact
  const auto below = std::uint64_t(exact);
  return below == 0 || double(below) < exact ? below + 1 : below;
}

// The weight that top-p may drop of `total` (> 0). Less than total, so that the first token of the order stays.
SPLITWISER_HD inline std::uint64_t top_p_drop_limit(double top_p, std::uint64_t total) {
  if (!(top_p < 1)) return 0;
  const double drop = mul_rn(sub_rn(1.0, top_p > 0 ? top_p : 0.0), double(total));
  const auto limit = std::uint64_t(drop);
  return limit < total ? limit : total - 1;
}

// Of `ties` tokens with one key and one weight (> 0), below which `dropped` is gone already: how many
// stay, the lowest ids. `dropped` <= `limit`.
SPLITWISER_HD inline std::uint64_t top_p_ties_kept(std::uint64_t ties, std::uint64_t weight, std::uint64_t dropped,
                                                   std::uint64_t limit) {
  const std::uint64_t drop = (limit - dropped) / weight;
  return drop < ties ? ties - drop : 0;
}

// ---- 6: the draw -------------------------------------------------------------------------------

struct Philox {
  std::uint32_t word[4];
};

// Philox4x32-10, a counter-based generator: J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw,
// "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
SPLITWISER_HD inline Philox philox4x32(Philox counter, std::uint32_t key0, std::uint32_t key1) {
  for (int round = 0; round < 10; round++) {
    const std::uint64_t a = std::uint64_t(0xD2511F53u) * counter.word[0];
    const std::uint64_t b = std::uint64_t(0xCD9E8D57u) * counter.word[2];
    counter = {{std::uint32_t(b >> 32) ^ counter.word[1] ^ key0, std::uint32_t(b),
                std::uint32_t(a >> 32) ^ counter.word[3] ^ key1, std::uint32_t(a)}};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

// 64 random bits for the token at `position` of continuation `choice` (index among n).
SPLITWISER_HD inline std::uint64_t random_bits(std::uint64_t seed, std::uint32_t choice, std::uint32_t position) {
  const Philox out = philox4x32({{position, choice, 0, 0}}, std::uint32_t(seed), std::uint32_t(seed >> 32));
  return std::uint64_t(out.word[1]) << 32 | out.word[0];
}

// Uniform in [0, total), up to 2^-64 * total.
SPLITWISER_HD inline std::uint64_t draw_target(std::uint64_t bits, std::uint64_t total) { return mul_high(bits, total); }

}  // namespace sampling
}  // namespace splitwiser
