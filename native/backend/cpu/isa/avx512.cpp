// AVX-512 F, BW, DQ, VL: 16 floats. A tile is 12 rows x 32 outputs: 24 accumulators of 32 registers.
#include "backend/cpu/kernels.hpp"

#if defined(SPLITWISER_X86)

#include <immintrin.h>

#include "support/half.hpp"
#include "backend/cpu/isa/inline.hpp"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"))), \
                             apply_to = function)
#elif defined(__GNUC__)
// GCC 12's own headers read "undefined" registers on purpose.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")
#endif

namespace splitwiser::cpu::avx512 {

struct V {
  static constexpr int kWidth = 16;
  static constexpr int kTileRows = 12;       // of a linear
  static constexpr int kAttentionRows = 6;
  static constexpr int kAccumulators = 24;  // at most in registers
  static constexpr bool kUnrolled = true;   // a group of k's written out
  __m512 v;

  static SPLITWISER_INLINE V zero() { return {_mm512_setzero_ps()}; }
  static SPLITWISER_INLINE V set(float x) { return {_mm512_set1_ps(x)}; }
  static SPLITWISER_INLINE V load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static SPLITWISER_INLINE V load(const F16* p) {
    return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
  }
  static SPLITWISER_INLINE V load(const BF16* p) {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16))};
  }
  SPLITWISER_INLINE void store(float* p) const { _mm512_storeu_ps(p, v); }
  SPLITWISER_INLINE void store(F16* p) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
  }
  SPLITWISER_INLINE void store(BF16* p) const {
    const __m512i bits = _mm512_castps_si512(v);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
    const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
    const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    const __m512i high = _mm512_srli_epi32(_mm512_mask_mov_epi32(rounded, nan, quiet), 16);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(high));
  }

  static SPLITWISER_INLINE V fma(V a, V b, V c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
  static SPLITWISER_INLINE V add(V a, V b) { return {_mm512_add_ps(a.v, b.v)}; }
  static SPLITWISER_INLINE V sub(V a, V b) { return {_mm512_sub_ps(a.v, b.v)}; }
  static SPLITWISER_INLINE V mul(V a, V b) { return {_mm512_mul_ps(a.v, b.v)}; }
  static SPLITWISER_INLINE V div(V a, V b) { return {_mm512_div_ps(a.v, b.v)}; }
  static SPLITWISER_INLINE V max(V a, V b) { return {_mm512_max_ps(a.v, b.v)}; }  // b where either is NaN
  // a < b ? yes : no, lane by lane.
  static SPLITWISER_INLINE V select_less(V a, V b, V yes, V no) {
    return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), no.v, yes.v)};
  }
  // The first n lanes of a (n may be negative or more than there are), the others of b.
  static SPLITWISER_INLINE V keep_first(V a, int n, V b) {
    const unsigned lanes = n <= 0 ? 0u : n >= kWidth ? 0xffffu : (1u << n) - 1u;
    return {_mm512_mask_blend_ps(static_cast<__mmask16>(lanes), b.v, a.v)};
  }
  // p 2^n, n in the low bits of t.
  static SPLITWISER_INLINE V shift_exponent(V p, V t) {
    const __m512i n = _mm512_slli_epi32(_mm512_castps_si512(t.v), 23);
    return {_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p.v), n))};
  }
  static SPLITWISER_INLINE float first(V a) { return _mm512_cvtss_f32(a.v); }
  static SPLITWISER_INLINE float reduce_sum(V a) {
    const __m256 h = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
  }
  static SPLITWISER_INLINE float reduce_max(V a) {
    const __m256 h = _mm256_max_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
  }
};

#include "backend/cpu/isa/math.inl"

#include "backend/cpu/isa/attention.inl"
#include "backend/cpu/isa/linear.inl"
#include "backend/cpu/isa/rows.inl"

}  // namespace splitwiser::cpu::avx512

#if defined(__clang__)
#pragma clang attribute pop
#elif defined(__GNUC__)
#pragma GCC pop_options
#endif

namespace splitwiser::cpu {

const CpuKernels& avx512_kernels() {
  static constexpr CpuKernels kTable = avx512::table(Isa::avx512);
  return kTable;
}

}  // namespace splitwiser::cpu

#endif
