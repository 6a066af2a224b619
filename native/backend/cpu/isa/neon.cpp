// NEON of every 64-bit ARM: 4 floats, fma included. A tile is 6 rows x 16 outputs: 24 accumulators of 32
// registers.
#include "backend/cpu/kernels.hpp"

#if defined(SPLITWISER_ARM)

#include <arm_neon.h>

#include "support/half.hpp"
#include "backend/cpu/isa/inline.hpp"

namespace splitwiser::cpu::neon {

struct V {
  static constexpr int kWidth = 4;
  static constexpr int kTileRows = 6;       // of a linear
  static constexpr int kAttentionRows = 6;
  static constexpr int kAccumulators = 24;  // at most in registers
  static constexpr bool kUnrolled = true;   // a group of k's written out
  float32x4_t v;

  static SPLITWISER_INLINE V zero() { return {vdupq_n_f32(0.0f)}; }
  static SPLITWISER_INLINE V set(float x) { return {vdupq_n_f32(x)}; }
  static SPLITWISER_INLINE V load(const float* p) { return {vld1q_f32(p)}; }
  static SPLITWISER_INLINE V load(const F16* p) {
    return {vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(reinterpret_cast<const std::uint16_t*>(p))))};
  }
  static SPLITWISER_INLINE V load(const BF16* p) {
    return {vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(reinterpret_cast<const std::uint16_t*>(p)), 16))};
  }
  SPLITWISER_INLINE void store(float* p) const { vst1q_f32(p, v); }
  SPLITWISER_INLINE void store(F16* p) const {
    vst1_u16(reinterpret_cast<std::uint16_t*>(p), vreinterpret_u16_f16(vcvt_f16_f32(v)));
  }
  SPLITWISER_INLINE void store(BF16* p) const {
    const uint32x4_t bits = vreinterpretq_u32_f32(v);
    const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    const uint32x4_t rounded = vaddq_u32(vaddq_u32(bits, vdupq_n_u32(0x7fff)), odd);
    const uint32x4_t quiet = vorrq_u32(bits, vdupq_n_u32(0x400000));
    vst1_u16(reinterpret_cast<std::uint16_t*>(p), vshrn_n_u32(vbslq_u32(vceqq_f32(v, v), rounded, quiet), 16));
  }

  static SPLITWISER_INLINE V fma(V a, V b, V c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
  static SPLITWISER_INLINE V add(V a, V b) { return {vaddq_f32(a.v, b.v)}; }
  static SPLITWISER_INLINE V sub(V a, V b) { return {vsubq_f32(a.v, b.v)}; }
  static SPLITWISER_INLINE V mul(V a, V b) { return {vmulq_f32(a.v, b.v)}; }
  static SPLITWISER_INLINE V div(V a, V b) { return {vdivq_f32(a.v, b.v)}; }
  // b where either is NaN, as on x86.
  static SPLITWISER_INLINE V max(V a, V b) { return {vbslq_f32(vcgtq_f32(a.v, b.v), a.v, b.v)}; }
  // a < b ? yes : no, lane by lane.
  static SPLITWISER_INLINE V select_less(V a, V b, V yes, V no) {
    return {vbslq_f32(vcltq_f32(a.v, b.v), yes.v, no.v)};
  }
  // The first n lanes of a (n may be negative or more than there are), the others of b.
  static SPLITWISER_INLINE V keep_first(V a, int n, V b) {
    const std::int32_t order[kWidth] = {0, 1, 2, 3};
    return {vbslq_f32(vcgtq_s32(vdupq_n_s32(n), vld1q_s32(order)), a.v, b.v)};
  }
  // p 2^n, n in the low bits of t.
  static SPLITWISER_INLINE V shift_exponent(V p, V t) {
    const uint32x4_t n = vshlq_n_u32(vreinterpretq_u32_f32(t.v), 23);
    return {vreinterpretq_f32_u32(vaddq_u32(vreinterpretq_u32_f32(p.v), n))};
  }
  static SPLITWISER_INLINE float first(V a) { return vgetq_lane_f32(a.v, 0); }
  static SPLITWISER_INLINE float reduce_sum(V a) {
    const float32x2_t s = vadd_f32(vget_low_f32(a.v), vget_high_f32(a.v));
    return vget_lane_f32(s, 0) + vget_lane_f32(s, 1);
  }
  static SPLITWISER_INLINE float reduce_max(V a) { return vmaxvq_f32(a.v); }
};

#include "backend/cpu/isa/math.inl"

#include "backend/cpu/isa/attention.inl"
#include "backend/cpu/isa/linear.inl"
#include "backend/cpu/isa/rows.inl"

}  // namespace splitwiser::cpu::neon

namespace splitwiser::cpu {

const CpuKernels& neon_kernels() {
  static constexpr CpuKernels kTable = neon::table(Isa::neon);
  return kTable;
}

}  // namespace splitwiser::cpu

#endif
