// Numbers of a run-time or template type, eight at a time: what kernels of every family load and store.
// An element type is a tag: float, ptx::F16 or ptx::BF16.
#pragma once

#include "ptx.cuh"
#include "types.hpp"

namespace splitwiser {

template <typename T>
inline constexpr int kBytesOf = 2;
template <>
inline constexpr int kBytesOf<float> = 4;

// from: 8 consecutive elements, aligned to 16 bytes. Plain loads: memory that this grid writes is allowed.
template <typename T>
__device__ __forceinline__ void load8(T, const void* from, float (&to)[8]) {
  const uint4 bits = *static_cast<const uint4*>(from);
  const std::uint32_t pairs[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    to[2 * i] = ptx::widen(T{}, static_cast<std::uint16_t>(pairs[i] & 0xffffU));
    to[2 * i + 1] = ptx::widen(T{}, static_cast<std::uint16_t>(pairs[i] >> 16));
  }
}
__device__ __forceinline__ void load8(float, const void* from, float (&to)[8]) {
  const float4 low = static_cast<const float4*>(from)[0];
  const float4 high = static_cast<const float4*>(from)[1];
  to[0] = low.x, to[1] = low.y, to[2] = low.z, to[3] = low.w;
  to[4] = high.x, to[5] = high.y, to[6] = high.z, to[7] = high.w;
}

// Rounds to the nearest, ties to even. to: aligned to 16 bytes.
template <typename T>
__device__ __forceinline__ void store8(T, void* to, const float (&from)[8]) {
  *static_cast<uint4*>(to) = uint4{ptx::narrow_pair(T{}, from[0], from[1]), ptx::narrow_pair(T{}, from[2], from[3]),
                                   ptx::narrow_pair(T{}, from[4], from[5]), ptx::narrow_pair(T{}, from[6], from[7])};
}
__device__ __forceinline__ void store8(float, void* to, const float (&from)[8]) {
  static_cast<float4*>(to)[0] = float4{from[0], from[1], from[2], from[3]};
  static_cast<float4*>(to)[1] = float4{from[4], from[5], from[6], from[7]};
}

template <typename T>
__device__ __forceinline__ float load1(T, const void* from, std::int64_t index) {
  return ptx::widen(T{}, static_cast<const std::uint16_t*>(from)[index]);
}
__device__ __forceinline__ float load1(float, const void* from, std::int64_t index) {
  return static_cast<const float*>(from)[index];
}
template <typename T>
__device__ __forceinline__ void store1(T, void* to, std::int64_t index, float value) {
  static_cast<std::uint16_t*>(to)[index] = ptx::narrow(T{}, value);
}
__device__ __forceinline__ void store1(float, void* to, std::int64_t index, float value) {
  static_cast<float*>(to)[index] = value;
}

}  // namespace splitwiser
