// Arithmetic built-ins under CUDA's names, with the device's results where the host's differ: maximum and minimum of
// signed zeros and NaN, saturating conversions. Transcendental functions are the C library's.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

// ---- bits ---------------------------------------------------------------------------------------
inline unsigned __float_as_uint(float value) { return std::bit_cast<unsigned>(value); }
inline int __float_as_int(float value) { return std::bit_cast<int>(value); }
inline float __uint_as_float(unsigned bits) { return std::bit_cast<float>(bits); }
inline float __int_as_float(int bits) { return std::bit_cast<float>(bits); }
inline long long __double_as_longlong(double value) { return std::bit_cast<long long>(value); }
inline double __longlong_as_double(long long bits) { return std::bit_cast<double>(bits); }

inline int __popc(unsigned value) { return std::popcount(value); }
inline int __popcll(unsigned long long value) { return std::popcount(value); }
inline int __clz(int value) { return std::countl_zero(static_cast<unsigned>(value)); }
inline int __clzll(long long value) { return std::countl_zero(static_cast<unsigned long long>(value)); }
inline int __ffs(int value) { return __builtin_ffs(value); }
inline int __ffsll(long long value) { return __builtin_ffsll(value); }
inline unsigned __brev(unsigned value) {
  unsigned result = 0;
  for (int bit = 0; bit < 32; ++bit) result |= ((value >> bit) & 1u) << (31 - bit);
  return result;
}
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>((static_cast<std::uint64_t>(a) * b) >> 32);
}
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return static_cast<unsigned long long>((static_cast<unsigned __int128>(a) * b) >> 64);
}

// ---- one rounding each --------------------------------------------------------------------------
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return __builtin_sqrtf(a); }
inline float __frcp_rn(float a) { return 1.0f / a; }
inline float __fmaf_rn(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline float __frsqrt_rn(float a) { return static_cast<float>(1.0 / __builtin_sqrt(static_cast<double>(a))); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline double __dsqrt_rn(double a) { return __builtin_sqrt(a); }
inline double __fma_rn(double a, double b, double c) { return __builtin_fma(a, b, c); }
inline float rsqrtf(float a) { return __frsqrt_rn(a); }
inline float __saturatef(float a) { return a > 0.0f ? (a < 1.0f ? a : 1.0f) : 0.0f; }  // NaN: 0

namespace simt {

// max.f32 and min.f32: the other operand where one is NaN, +0 above -0.
inline float device_fmaxf(float a, float b) {
  if (a != a) return b != b ? std::bit_cast<float>(0x7fffffffu) : b;
  if (b != b) return a;
  if (a == b) return std::signbit(a) ? b : a;
  return a > b ? a : b;
}
inline float device_fminf(float a, float b) {
  if (a != a) return b != b ? std::bit_cast<float>(0x7fffffffu) : b;
  if (b != b) return a;
  if (a == b) return std::signbit(a) ? a : b;
  return a < b ? a : b;
}

// Saturates, NaN to 0 (cvt.*i: PTX ISA). `value` is integral already.
template <typename To>
inline To saturate(double value) {
  if (value != value) return 0;
  // The greatest To as a double may be 2^31 or 2^63: not below it means saturation.
  constexpr double kAbove = static_cast<double>(std::numeric_limits<To>::max() / 2 + 1) * 2.0;
  constexpr double kLowest = static_cast<double>(std::numeric_limits<To>::lowest());
  if (value >= kAbove) return std::numeric_limits<To>::max();
  if (value <= kLowest) return std::numeric_limits<To>::lowest();
  return static_cast<To>(value);
}

}  // namespace simt

#define fmaxf(a, b) (::simt::device_fmaxf((a), (b)))
#define fminf(a, b) (::simt::device_fminf((a), (b)))

#define SIMT_CONVERT(name, To)                                                                                    \
  inline To __float2##name##_rn(float value) { return ::simt::saturate<To>(__builtin_nearbyint(double(value))); } \
  inline To __float2##name##_rz(float value) { return ::simt::saturate<To>(__builtin_trunc(double(value))); }     \
  inline To __float2##name##_rd(float value) { return ::simt::saturate<To>(__builtin_floor(double(value))); }     \
  inline To __float2##name##_ru(float value) { return ::simt::saturate<To>(__builtin_ceil(double(value))); }      \
  inline To __double2##name##_rn(double value) { return ::simt::saturate<To>(__builtin_nearbyint(value)); }       \
  inline To __double2##name##_rz(double value) { return ::simt::saturate<To>(__builtin_trunc(value)); }
SIMT_CONVERT(int, int)
SIMT_CONVERT(uint, unsigned)
SIMT_CONVERT(ll, long long)
SIMT_CONVERT(ull, unsigned long long)
#undef SIMT_CONVERT

inline float __int2float_rn(int value) { return static_cast<float>(value); }
inline float __uint2float_rn(unsigned value) { return static_cast<float>(value); }
inline float __ll2float_rn(long long value) { return static_cast<float>(value); }
inline float __ull2float_rn(unsigned long long value) { return static_cast<float>(value); }
inline float __double2float_rn(double value) { return static_cast<float>(value); }

// ---- CUDA's global min and max ------------------------------------------------------------------
template <typename A, typename B>
constexpr std::enable_if_t<std::is_arithmetic_v<A> && std::is_arithmetic_v<B>, std::common_type_t<A, B>> min(A a, B b) {
  using T = std::common_type_t<A, B>;
  if constexpr (std::is_same_v<T, float>) return ::simt::device_fminf(a, b);
  else return static_cast<T>(b) < static_cast<T>(a) ? static_cast<T>(b) : static_cast<T>(a);
}
template <typename A, typename B>
constexpr std::enable_if_t<std::is_arithmetic_v<A> && std::is_arithmetic_v<B>, std::common_type_t<A, B>> max(A a, B b) {
  using T = std::common_type_t<A, B>;
  if constexpr (std::is_same_v<T, float>) return ::simt::device_fmaxf(a, b);
  else return static_cast<T>(a) < static_cast<T>(b) ? static_cast<T>(b) : static_cast<T>(a);
}
