// What follows a GEMM's sum, in f32 and in this order: bias, activation, (gate times up), soft cap, residual, one rounding. One
// function for every kernel, so that an element is finished alike whatever tile computed its sum.
#pragma once

#include "gemm.hpp"
#include "number.cuh"

namespace splitwiser {

// 1 / (1 + e^-x), by way of e^-|x|, which does not overflow.
__device__ __forceinline__ float sigmoid(float x) {
  constexpr float kLog2E = 1.44269504088896f;
  const float e = ptx::exp2_approx(__fmul_rn(fabsf(x), -kLog2E));
  const float tail = __fdiv_rn(e, __fadd_rn(1.0f, e));
  return x < 0.0f ? tail : __fsub_rn(1.0f, tail);
}

__device__ __forceinline__ float activate(Activation activation, float value) {
  switch (activation) {
    case Activation::relu:
      return fmaxf(value, 0.0f);
    case Activation::gelu:
      return __fmul_rn(__fmul_rn(0.5f, value), __fadd_rn(1.0f, erff(__fmul_rn(value, 0.70710678118654752f))));
    case Activation::gelu_tanh: {
      // (1 + tanh(u)) / 2 is sigmoid(2 u): 2 sqrt(2 / pi) and that times 0.044715.
      const float twice = __fmul_rn(value, __fmaf_rn(__fmul_rn(value, value), 0.0713548162726f, 1.59576912160573f));
      return __fmul_rn(value, sigmoid(twice));
    }
    case Activation::silu:
      return __fmul_rn(value, sigmoid(value));
    case Activation::none:
      break;
  }
  return value;
}

namespace gemm {

// Sums of a tile lie in shared memory as [planes][tokens][pitch]: plane p has the sums of K part p. The pitch is the tile's
// rows + 4: with the mma's layout of results, the 32 lanes that write then hit 32 banks (2 * pitch is 8 modulo 32).
inline constexpr int kSumsPad = 4;

struct Sums {
  const float* at;
  int planes, plane_floats, pitch;
};

// ((p0 + p1) + p2) + ... of 8 consecutive rows of one token.
__device__ __forceinline__ void merge8(const Sums& sums, int token, int row, float (&total)[8]) {
  const float* from = sums.at + token * sums.pitch + row;
  load8(float{}, from, total);
#pragma unroll 1
  for (int plane = 1; plane < sums.planes; ++plane) {
    float part[8];
    from += sums.plane_floats;
    load8(float{}, from, part);
#pragma unroll
    for (int i = 0; i < 8; ++i) total[i] = __fadd_rn(total[i], part[i]);
  }
}

// Biases of rows first .. first + 7 of the weight, those below m; whole: all 8 are.
__device__ __forceinline__ void load_bias8(const GemmParams& params, int first, bool whole, float (&bias)[8]) {
  if (whole) {
    load8(float{}, params.bias + first, bias);
  } else {
#pragma unroll
    for (int i = 0; i < 8; ++i) bias[i] = first + i < params.m ? params.bias[first + i] : 0.0f;
  }
}

// Finishes and writes outputs column .. column + 7 of a token.
template <typename Out>
__device__ __forceinline__ void write8(const GemmParams& params, int token, int column, int columns, bool whole,
                                       float (&values)[8]) {
  const std::int64_t at = std::int64_t(token) * columns + column;
  char* const to = static_cast<char*>(params.out) + at * kBytesOf<Out>;
  const char* const residual = params.residual == nullptr ? nullptr
                                                          : static_cast<const char*>(params.residual) + at * kBytesOf<Out>;
  if (whole) {
    if (residual != nullptr) {
      float other[8];
      load8(Out{}, residual, other);
#pragma unroll
      for (int i = 0; i < 8; ++i) values[i] = __fadd_rn(values[i], other[i]);
    }
    store8(Out{}, to, values);
    return;
  }
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    if (column + i >= columns) break;
    const float value = residual == nullptr ? values[i] : __fadd_rn(values[i], load1(Out{}, residual, i));
    store1(Out{}, to, i, value);
  }
}

// Writes `tokens` tokens (those below n) of a tile of `rows` rows (a power of two, 16 at least) that begins at row m0,
// token n0. All threads of the block; 8 outputs a thread and turn, the threads of a warp along the outputs of a token.
template <typename T, int Threads>
__device__ __forceinline__ void write_tile(const GemmParams& params, const Sums& sums, int rows, int tokens,
                                           int m0, int n0, int n) {
  const int rows_per_unit = params.gated ? 16 : 8;
  const int columns = static_cast<int>(params.gated ? params.m / 2 : params.m);
  const bool whole = columns % 8 == 0;  // then rows of out begin at multiples of 16 bytes, and groups of 8 are complete
  const int units_per_token = rows / rows_per_unit, shift = __ffs(units_per_token) - 1;
  // The compiler can't know what a shuffle gives, so that nothing that follows from it is computed before the main loop and
  // kept in registers through it (the wide kernel had 24 bytes of spills).
  const int thread = static_cast<int>(__shfl_sync(0xffffffffU, threadIdx.x, static_cast<int>(threadIdx.x % 32)));
  // A thread keeps its rows from turn to turn, and with them their biases.
  const int row = (thread & (units_per_token - 1)) * rows_per_unit;
  const int column = params.gated ? (m0 + row) / 2 : m0 + row;
  int token = thread >> shift;
  const int end = n - n0 < tokens ? n - n0 : tokens;
  if (column >= columns || token >= end) return;
  const bool has_bias = params.bias != nullptr;
  float bias[8], up_bias[8];
  if (has_bias) {
    load_bias8(params, m0 + row, whole, bias);
    if (params.gated) load_bias8(params, m0 + row + 8, whole, up_bias);
  }
#pragma unroll 1
  for (; token < end; token += Threads >> shift) {
    float values[8];
    merge8(sums, token, row, values);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      values[i] = activate(params.activation, has_bias ? __fadd_rn(values[i], bias[i]) : values[i]);
    }
    if (params.gated) {
      float up[8];
      merge8(sums, token, row + 8, up);
#pragma unroll
      for (int i = 0; i < 8; ++i) values[i] = __fmul_rn(values[i], has_bias ? __fadd_rn(up[i], up_bias[i]) : up[i]);
    }
    if (params.soft_cap > 0.0f) {
#pragma unroll
      for (int i = 0; i < 8; ++i) values[i] = __fmul_rn(params.soft_cap, tanhf(__fdiv_rn(values[i], params.soft_cap)));
    }
    if (params.out_dtype == DType::f32) {
      write8<float>(params, n0 + token, column, columns, whole, values);
    } else {
      write8<T>(params, n0 + token, column, columns, whole, values);
    }
  }
}

}  // namespace gemm
}  // namespace splitwiser
