// What the row kernels share: eight elements at a time, 128-bit accesses where the rows allow it, and the sum over a row.
#pragma once

#include <cstdint>

#include "ptx.cuh"

namespace splitwiser::rows {

inline constexpr int kEight = 8;  // elements that a lane moves at once: 16 bytes of a 16-bit type, 2 x 16 of f32

// What lies in memory for an element type: float, or the bits of ptx::F16 and ptx::BF16.
template <typename T>
struct Stored {
  using Type = std::uint16_t;
};
template <>
struct Stored<float> {
  using Type = float;
};

struct Eight {
  float v[kEight];
};

template <typename T>
__device__ __forceinline__ float widen(T, typename Stored<T>::Type bits) { return ptx::widen(T{}, bits); }
__device__ __forceinline__ float widen(float, float value) { return value; }

template <typename T>
__device__ __forceinline__ typename Stored<T>::Type narrow(T, float value) { return ptx::narrow(T{}, value); }
__device__ __forceinline__ float narrow(float, float value) { return value; }

template <typename T>
__device__ __forceinline__ float rounded(float value) { return widen(T{}, narrow(T{}, value)); }

__device__ __forceinline__ bool aligned_16(const void* pointer) {
  return (reinterpret_cast<std::uintptr_t>(pointer) & 15) == 0;
}

template <bool kReadOnly>
__device__ __forceinline__ uint4 load_16(const void* from) {
  if constexpr (kReadOnly) {
    return ptx::load_nc_16(from);
  } else {
    return *static_cast<const uint4*>(from);
  }
}

// Elements beyond `valid` (any number) are 0 and not read. `wide`: `from` is aligned to 16 bytes.
// kReadOnly: nothing in this grid writes there.
template <typename T, bool kReadOnly>
__device__ __forceinline__ Eight load_eight(const typename Stored<T>::Type* from, int valid, bool wide) {
  Eight out;
  if (wide && valid >= kEight) {
    const uint4 a = load_16<kReadOnly>(from);
    if constexpr (sizeof(typename Stored<T>::Type) == 4) {
      const uint4 b = load_16<kReadOnly>(from + 4);
      const std::uint32_t words[8] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
#pragma unroll
      for (int i = 0; i < kEight; i++) out.v[i] = __uint_as_float(words[i]);
    } else {
      const std::uint32_t words[4] = {a.x, a.y, a.z, a.w};
#pragma unroll
      for (int i = 0; i < 4; i++) {
        out.v[2 * i] = widen(T{}, static_cast<std::uint16_t>(words[i]));
        out.v[2 * i + 1] = widen(T{}, static_cast<std::uint16_t>(words[i] >> 16));
      }
    }
  } else {
#pragma unroll
    for (int i = 0; i < kEight; i++) out.v[i] = i < valid ? widen(T{}, from[i]) : 0.0f;
  }
  return out;
}

template <typename T>
__device__ __forceinline__ void store_eight(typename Stored<T>::Type* to, const Eight& from, int valid, bool wide) {
  if (wide && valid >= kEight) {
    if constexpr (sizeof(typename Stored<T>::Type) == 4) {
      float4 a, b;
      a.x = from.v[0], a.y = from.v[1], a.z = from.v[2], a.w = from.v[3];
      b.x = from.v[4], b.y = from.v[5], b.z = from.v[6], b.w = from.v[7];
      reinterpret_cast<float4*>(to)[0] = a;
      reinterpret_cast<float4*>(to)[1] = b;
    } else {
      uint4 a;
      a.x = ptx::narrow_pair(T{}, from.v[0], from.v[1]);
      a.y = ptx::narrow_pair(T{}, from.v[2], from.v[3]);
      a.z = ptx::narrow_pair(T{}, from.v[4], from.v[5]);
      a.w = ptx::narrow_pair(T{}, from.v[6], from.v[7]);
      *reinterpret_cast<uint4*>(to) = a;
    }
  } else {
#pragma unroll
    for (int i = 0; i < kEight; i++) {
      if (i < valid) to[i] = narrow(T{}, from.v[i]);
    }
  }
}

// Work is (row, chunk of 32 lanes); warps of the grid walk it. body(row, item): item < items.
template <typename Body>
__device__ __forceinline__ void each_item(std::int64_t rows, std::int64_t items, const Body& body) {
  const std::int64_t chunks = (items + 31) / 32;
  const std::int64_t warps = std::int64_t(gridDim.x) * (blockDim.x / 32);
  for (std::int64_t unit = std::int64_t(blockIdx.x) * (blockDim.x / 32) + threadIdx.x / 32; unit < rows * chunks;
       unit += warps) {
    const std::int64_t row = unit / chunks;
    const std::int64_t item = (unit - row * chunks) * 32 + threadIdx.x % 32;
    if (item < items) body(row, item);
  }
}

__device__ __forceinline__ std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

// A butterfly: addition commutes, so all lanes get the same bits.
__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
  for (int lane = 16; lane > 0; lane /= 2) value = __fadd_rn(value, __shfl_xor_sync(0xFFFFFFFFu, value, lane));
  return value;
}

// Sum over the block in one order: each warp's, then warps ascending. `partials`: 32 floats of shared memory that no thread
// has used since the last barrier but one.
__device__ __forceinline__ float block_sum(float value, float* partials) {
  value = warp_sum(value);
  const int warps = int(blockDim.x) / 32;
  if (warps == 1) return value;
  if (threadIdx.x % 32 == 0) partials[threadIdx.x / 32] = value;
  __syncthreads();
  float sum = partials[0];
  for (int i = 1; i < warps; i++) sum = __fadd_rn(sum, partials[i]);
  return sum;
}

}  // namespace splitwiser::rows
