// The arithmetic of a norm, of eight elements at a time: the norm kernels and the GEMMs that normalise their tokens themselves
// give the same bits, because both are made of these functions and sum in the same order (see rows_norm.cuh).
#pragma once

#include "rows.cuh"

namespace splitwiser::rows {

__device__ __forceinline__ float add_all(float sum, const Eight& x) {
#pragma unroll
  for (int i = 0; i < kEight; i++) sum = __fadd_rn(sum, x.v[i]);
  return sum;
}

__device__ __forceinline__ float add_squares(float sum, const Eight& x, float mean, int valid) {
#pragma unroll
  for (int i = 0; i < kEight; i++) {
    const float d = __fsub_rn(x.v[i], mean);
    if (i < valid) sum = __fmaf_rn(d, d, sum);
  }
  return sum;
}

__device__ __forceinline__ float norm_scale(float variance, float eps) {
  return __fdiv_rn(1.0f, __fsqrt_rn(__fadd_rn(variance, eps)));
}

__device__ __forceinline__ void normalize(Eight& x, float mean, float scale, const Eight& weight) {
#pragma unroll
  for (int i = 0; i < kEight; i++) x.v[i] = __fmul_rn(__fmul_rn(__fsub_rn(x.v[i], mean), scale), weight.v[i]);
}

__device__ __forceinline__ void normalize(Eight& x, float mean, float scale, const Eight& weight, const Eight& bias) {
#pragma unroll
  for (int i = 0; i < kEight; i++) {
    x.v[i] = __fmaf_rn(__fmul_rn(__fsub_rn(x.v[i], mean), scale), weight.v[i], bias.v[i]);
  }
}

}  // namespace splitwiser::rows
