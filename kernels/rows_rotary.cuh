// Rotary position embedding: the angle's sine and cosine, and the turn of one pair.
#pragma once

#include "ptx.cuh"

namespace splitwiser::rows {

struct Turn {
  float sine, cosine;
};

// Sine and cosine of position * frequency (that product rounded to f32, as in the reference implementations). Not by sinf
// and cosf: for great angles they take a path with local memory, and their bits belong to a compiler's version.
// Reduction by multiples of pi/2 in three steps of fma (Cody and Waite, "Software Manual for the Elementary Functions", 1980):
// exact in the first step up to 2^20 radians, so the whole is off by less than 1.5e-7 there. The polynomials are our
// own minimax fits on |r| <= 0.87: room for a quotient that rounds to the wrong side.
__device__ __forceinline__ Turn turn_of(float position, float frequency) {
  const float angle = __fmul_rn(position, frequency);
  constexpr float kRounder = 12582912.0f;  // 1.5 * 2^23: an addition leaves no room for a fraction
  const float quotient = __fsub_rn(__fadd_rn(__fmul_rn(angle, 0x1.45f306p-1f), kRounder), kRounder);
  float r = __fmaf_rn(quotient, -0x1.921fb6p+0f, angle);
  r = __fmaf_rn(quotient, 0x1.777a5cp-25f, r);
  r = __fmaf_rn(quotient, 0x1.ee59dap-50f, r);
  const float z = __fmul_rn(r, r);

  float s = __fmaf_rn(0x1.6b5644p-19f, z, -0x1.a0080cp-13f);
  s = __fmaf_rn(s, z, 0x1.1110fcp-7f);
  s = __fmaf_rn(s, z, -0x1.555556p-3f);
  const float sine = __fmaf_rn(__fmul_rn(s, z), r, r);

  float c = __fmaf_rn(0x1.98a34ep-16f, z, -0x1.6c076ap-10f);
  c = __fmaf_rn(c, z, 0x1.555542p-5f);
  c = __fmaf_rn(c, z, -0.5f);
  const float cosine = __fmaf_rn(c, z, 1.0f);

  const int quadrant = int(quotient) & 3;
  const float a = quadrant & 1 ? cosine : sine;
  const float b = quadrant & 1 ? sine : cosine;
  return {quadrant & 2 ? -a : a, quadrant == 1 || quadrant == 2 ? -b : b};
}

__device__ __forceinline__ void turn_pair(const Turn& turn, float& x, float& y) {
  const float turned = __fmaf_rn(-y, turn.sine, __fmul_rn(x, turn.cosine));
  y = __fmaf_rn(x, turn.sine, __fmul_rn(y, turn.cosine));
  x = turned;
}

}  // namespace splitwiser::rows
