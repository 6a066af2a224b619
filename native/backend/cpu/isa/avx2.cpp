// AVX2, FMA and F16C: 8 floats. A tile is 6 rows x 16 outputs: 12 accumulators, 2 weights, 1 broadcast of 16
// registers.
#include "backend/cpu/kernels.hpp"

#if defined(SPLITWISER_X86)

#include <immintrin.h>

#include "support/half.hpp"
#include "backend/cpu/isa/inline.hpp"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#elif defined(__GNUC__)
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif

namespace splitwiser::cpu::avx2 {

struct V {
  static constexpr int kWidth = 8;
  static constexpr int kTileRows = 6;       // of a linear
  static constexpr int kAttentionRows = 6;
  static constexpr int kAccumulators = 12;  // at most in registers
  static constexpr bool kUnrolled = true;      // a group of k's written out
  __m256 v;

  static SPLITWISER_INLINE V zero() { return {_mm256_setzero_ps()}; }
  static SPLITWISER_INLINE V set(float x) { return {_mm256_set1_ps(x)}; }
  static SPLITWISER_INLINE V load(const float* p) { return {_mm256_loadu_ps(p)}; }
  static SPLITWISER_INLINE V load(const F16* p) {
    return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
  }
  static SPLITWISER_INLINE V load(const BF16* p) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16))};
  }
  SPLITWISER_INLINE void store(float* p) const { _mm256_storeu_ps(p, v); }
  SPLITWISER_INLINE void store(F16* p) const {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
  }
  SPLITWISER_INLINE void store(BF16* p) const {
    const __m256i bits = _mm256_castps_si256(v);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    const __m256 nan = _mm256_cmp_ps(v, v, _CMP_UNORD_Q);
    const __m256i high = _mm256_srli_epi32(
        _mm256_castps_si256(_mm256_blendv_ps(_mm256_castsi256_ps(rounded), _mm256_castsi256_ps(quiet), nan)), 16);
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(high, high), 0x08);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(packed));
  }

  static SPLITWISER_INLINE V fma(V a, V b, V c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
  static SPLITWISER_INLINE V add(V a, V b) { return {_mm256_add_ps(a.v, b.v)}; }
  static SPLITWISER_INLINE V sub(V a, V b) { return {_mm256_sub_ps(a.v, b.v)}; }
  static SPLITWISER_INLINE V mul(V a, V b) { return {_mm256_mul_ps(a.v, b.v)}; }
  static SPLITWISER_INLINE V div(V a, V b) { return {_mm256_div_ps(a.v, b.v)}; }
  static SPLITWISER_INLINE V max(V a, V b) { return {_mm256_max_ps(a.v, b.v)}; }  // b where either is NaN
  // a < b ? yes : no, lane by lane.
  static SPLITWISER_INLINE V select_less(V a, V b, V yes, V no) {
    return {_mm256_blendv_ps(no.v, yes.v, _mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ))};
  }
  // The first n lanes of a (n may be negative or more than there are), the others of b.
  static SPLITWISER_INLINE V keep_first(V a, int n, V b) {
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i kept = _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lanes);
    return {_mm256_blendv_ps(b.v, a.v, _mm256_castsi256_ps(kept))};
  }
  // p 2^n, n in the low bits of t.
  static SPLITWISER_INLINE V shift_exponent(V p, V t) {
    const __m256i n = _mm256_slli_epi32(_mm256_castps_si256(t.v), 23);
    return {_mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p.v), n))};
  }
  static SPLITWISER_INLINE float first(V a) { return _mm256_cvtss_f32(a.v); }
  static SPLITWISER_INLINE float reduce_sum(V a) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
  }
  static SPLITWISER_INLINE float reduce_max(V a) {
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
  }
};

#include "backend/cpu/isa/math.inl"

#include "backend/cpu/isa/attention.inl"
#include "backend/cpu/isa/linear.inl"
#include "backend/cpu/isa/rows.inl"

}  // namespace splitwiser::cpu::avx2

#if defined(__clang__)
#pragma clang attribute pop
#elif defined(__GNUC__)
#pragma GCC pop_options
#endif

namespace splitwiser::cpu {

const CpuKernels& avx2_kernels() {
  static constexpr CpuKernels kTable = avx2::table(Isa::avx2);
  return kTable;
}

}  // namespace splitwiser::cpu

#endif
