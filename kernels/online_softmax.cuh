// The state of one row of attention over a set of keys, and how two states become one. Prefill, decode and the fold of
// decode's splits use this type and this merge alone. Scores are in units of log2.
#pragma once

#include <cmath>

#include "ptx.cuh"

namespace splitwiser::attention {

// m: the greatest score (-inf: no key was visible); l: sum of 2^(score - m); o: sum of 2^(score - m) * value, `Columns` of it.
template <int Columns>
struct SoftmaxState {
  float m;
  float l;
  float o[Columns];

  __device__ __forceinline__ void clear() {
    m = -INFINITY;
    l = 0.0f;
#pragma unroll
    for (int c = 0; c < Columns; ++c) o[c] = 0.0f;
  }
};

// What is subtracted from scores: -inf - -inf would be NaN, and any finite number gives 2^-inf = 0.
__device__ __forceinline__ float exponent_base(float m) { return m == -INFINITY ? 0.0f : m; }

// into = the state of both sets of keys; `from` holds the later keys. A state without keys changes nothing but the sign
// of zeros, as long as the other's numbers are finite.
template <int Columns>
__device__ __forceinline__ void merge(SoftmaxState<Columns>& into, const SoftmaxState<Columns>& from) {
  const float m = fmaxf(into.m, from.m);
  const float base = exponent_base(m);
  const float keep = ptx::exp2_approx(__fsub_rn(into.m, base));
  const float add = ptx::exp2_approx(__fsub_rn(from.m, base));
  into.m = m;
  into.l = __fmaf_rn(from.l, add, __fmul_rn(into.l, keep));
#pragma unroll
  for (int c = 0; c < Columns; ++c) into.o[c] = __fmaf_rn(from.o[c], add, __fmul_rn(into.o[c], keep));
}

// 1 / x for x in 2^-100 .. 2^100, to about 1 ulp: Newton's method from the number with the negated exponent. By fma and
// integers alone, without the slow path of a division, which is a call that costs the loops around it registers.
__device__ __forceinline__ float reciprocal(float x) {
  float inverse = __uint_as_float(0x7ef311c7u - __float_as_uint(x));
#pragma unroll
  for (int i = 0; i < 3; ++i) inverse = __fmaf_rn(inverse, __fmaf_rn(-x, inverse, 1.0f), inverse);
  return inverse;
}

// The factor that makes o the answer; l is about 1 at least. A row without keys has l = 0 and the answer 0.
__device__ __forceinline__ float inverse_sum(float l) { return l > 0.0f ? reciprocal(l) : 0.0f; }

// Adds +0, so that -0 and +0 give one answer: the sign of a zero may depend on how many masked keys were walked over.
__device__ __forceinline__ float finished(float o, float inverse) { return __fmaf_rn(o, inverse, 0.0f); }

}  // namespace splitwiser::attention
