// 16-bit floating point types and their scalar conversions: exact to f32, round to nearest even from it.
#pragma once

#include <bit>
#include <cstdint>

#include "types.hpp"  // kernels/: DType

namespace splitwiser {

struct F16 {
  std::uint16_t bits;
};
struct BF16 {
  std::uint16_t bits;
};

template <typename T>
inline constexpr DType kDTypeOf = DType::f32;
template <>
inline constexpr DType kDTypeOf<F16> = DType::f16;
template <>
inline constexpr DType kDTypeOf<BF16> = DType::bf16;

inline float widen(float value) { return value; }

inline float widen(BF16 value) { return std::bit_cast<float>(std::uint32_t(value.bits) << 16); }

inline float widen(F16 value) {
  const std::uint32_t sign = std::uint32_t(value.bits & 0x8000u) << 16;
  const std::uint32_t magnitude = value.bits & 0x7fffu;
  // The exponent is moved by a multiplication, which also makes denormals of f16 right.
  const float scaled = std::bit_cast<float>(magnitude << 13) * 0x1p112f;
  const std::uint32_t finite = std::bit_cast<std::uint32_t>(scaled);
  const std::uint32_t special = 0x7f800000u | (magnitude << 13);  // infinity and NaN
  return std::bit_cast<float>(sign | (magnitude >= 0x7c00u ? special : finite));
}

template <typename T>
T narrow(float value);

template <>
inline float narrow<float>(float value) {
  return value;
}

template <>
inline BF16 narrow<BF16>(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {std::uint16_t((bits >> 16) | 0x40u)};  // NaN stays NaN
  return {std::uint16_t((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

template <>
inline F16 narrow<F16>(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const std::uint16_t sign = std::uint16_t((bits >> 16) & 0x8000u);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return {std::uint16_t(sign | 0x7e00u | ((magnitude >> 13) & 0x1ffu))};
  if (magnitude >= 0x477ff000u) return {std::uint16_t(sign | 0x7c00u)};  // 65520 and more round to infinity
  if (magnitude < 0x38800000u) {
    // Below 2^-14: the sum with 0.5 leaves the rounded multiple of 2^-24 in its low bits.
    const float sum = std::bit_cast<float>(magnitude) + 0.5f;
    return {std::uint16_t(sign | (std::bit_cast<std::uint32_t>(sum) - 0x3f000000u))};
  }
  const std::uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return {std::uint16_t(sign | ((rounded - 0x38000000u) >> 13))};
}

// Calls f with a value of the type that `type` names.
template <typename F>
decltype(auto) with_type(DType type, F&& f) {
  switch (type) {
    case DType::f16: return f(F16{});
    case DType::bf16: return f(BF16{});
    case DType::f32: break;
  }
  return f(float{});
}

}  // namespace splitwiser
