#include "simt/mma.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "simt/numbers.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace simt {

namespace {

using Vector = float __attribute__((vector_size(32), aligned(32)));

struct Wide {
  alignas(32) float a[16][16];
  alignas(32) Vector b[16];
};

// Products of f16 and of bf16 are exact in f32 (but for bf16's range), so that only the order of the sum counts.
// The accumulator is taken out first, as one term among 17.
template <int Rows>
[[gnu::always_inline]] inline void accumulate(const Wide& wide, MatrixD& d, int first,
                                              const std::array<std::uint8_t, 17>& order) {
  Vector sum[Rows], before[Rows];
  for (int r = 0; r < Rows; ++r) before[r] = *reinterpret_cast<const Vector*>(d[static_cast<unsigned>(first + r)].data());
  if (order[0] == 16) {
    for (int r = 0; r < Rows; ++r) sum[r] = before[r];
  } else {
    for (int r = 0; r < Rows; ++r) sum[r] = wide.a[first + r][order[0]] * wide.b[order[0]];
  }
  for (unsigned i = 1; i < 17; ++i) {
    const unsigned k = order[i];
    if (k == 16) {
      for (int r = 0; r < Rows; ++r) sum[r] += before[r];
      continue;
    }
    const Vector b = wide.b[k];
    for (int r = 0; r < Rows; ++r) sum[r] += wide.a[first + r][k] * b;
  }
  for (int r = 0; r < Rows; ++r) *reinterpret_cast<Vector*>(d[static_cast<unsigned>(first + r)].data()) = sum[r];
}

void widen_all(bool bf16, const MatrixA& a, const MatrixB& b, Wide& wide) {
  const auto widen = bf16 ? &widen_bf16 : &widen_f16;
  for (unsigned r = 0; r < 16; ++r) {
    for (unsigned k = 0; k < 16; ++k) wide.a[r][k] = widen(a[r][k]);
  }
  for (unsigned k = 0; k < 16; ++k) {
    for (unsigned n = 0; n < 8; ++n) wide.b[k][n] = widen(b[k][n]);
  }
}

#if defined(__x86_64__)

[[gnu::target("avx2,f16c")]] void multiply_avx2(bool bf16, const MatrixA& a, const MatrixB& b, MatrixD& d,
                                                const std::array<std::uint8_t, 17>& order) {
  Wide wide;
  const auto widen = [bf16](const std::uint16_t* from, float* to) __attribute__((target("avx2,f16c"))) {
    const __m128i bits = _mm_load_si128(reinterpret_cast<const __m128i*>(from));
    _mm256_store_ps(to, bf16 ? _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16))
                             : _mm256_cvtph_ps(bits));
  };
  for (unsigned r = 0; r < 16; ++r) {
    widen(a[r].data(), wide.a[r]);
    widen(a[r].data() + 8, wide.a[r] + 8);
    widen(b[r].data(), reinterpret_cast<float*>(&wide.b[r]));
  }
  accumulate<8>(wide, d, 0, order);
  accumulate<8>(wide, d, 8, order);
}

bool has_avx2() { return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("f16c") != 0; }

#endif

}  // namespace

void multiply_ordered(bool bf16, const MatrixA& a, const MatrixB& b, MatrixD& d,
                      const std::array<std::uint8_t, 17>& order) {
#if defined(__x86_64__)
  static const bool avx2 = has_avx2();
  if (avx2) {
    multiply_avx2(bf16, a, b, d, order);
    return;
  }
#endif
  Wide wide;
  widen_all(bf16, a, b, wide);
  for (int first = 0; first < 16; first += 4) accumulate<4>(wide, d, first, order);
}

// ---- truncation ---------------------------------------------------------------------------------

namespace {

// mantissa * 2^exponent, exact; mantissa 0 has no exponent.
struct Exact {
  std::int64_t mantissa = 0;
  int exponent = 0;
};

Exact split(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const int raw = static_cast<int>(bits >> 23 & 0xffu);
  const std::int64_t fraction = bits & 0x7fffffu;
  const std::int64_t mantissa = raw == 0 ? fraction : fraction | 0x800000;
  return {(bits >> 31) != 0 ? -mantissa : mantissa, std::max(raw, 1) - 150};
}

// To f32, toward zero.
float cut(std::int64_t mantissa, int exponent) {
  if (mantissa == 0) return 0.0f;
  const bool negative = mantissa < 0;
  auto magnitude = static_cast<std::uint64_t>(negative ? -mantissa : mantissa);
  const int excess = std::max(64 - std::countl_zero(magnitude) - 24, -149 - exponent);
  if (excess > 0) {
    magnitude = excess > 63 ? 0 : magnitude >> excess;
    exponent += excess;
  }
  float value = std::ldexp(static_cast<float>(magnitude), exponent);
  if (std::isinf(value)) value = std::numeric_limits<float>::max();
  return negative ? -value : value;
}

}  // namespace

void multiply_truncated(bool bf16, const MatrixA& a, const MatrixB& b, MatrixD& d, int terms, int fraction) {
  Wide wide;
  widen_all(bf16, a, b, wide);
  for (unsigned r = 0; r < 16; ++r) {
    for (unsigned n = 0; n < 8; ++n) {
      float sum = d[r][n];
      for (int first = 0; first < 16; first += terms) {
        Exact parts[17];
        bool finite = std::isfinite(sum);
        float plain = sum;  // for infinities and NaN
        parts[0] = split(sum);
        for (int i = 0; i < terms; ++i) {
          const float x = wide.a[r][first + i], y = wide.b[first + i][n];
          finite = finite && std::isfinite(x) && std::isfinite(y);
          plain += x * y;
          const Exact p = split(x), q = split(y);
          parts[i + 1] = {p.mantissa * q.mantissa, p.exponent + q.exponent};
        }
        if (!finite) {
          sum = std::isnan(plain) ? std::bit_cast<float>(0x7fffffffu) : plain;
          continue;
        }
        int top = std::numeric_limits<int>::min();  // exponent of the greatest term's leading bit
        for (int i = 0; i <= terms; ++i) {
          if (parts[i].mantissa == 0) continue;
          const auto magnitude = static_cast<std::uint64_t>(std::abs(parts[i].mantissa));
          top = std::max(top, parts[i].exponent + 63 - std::countl_zero(magnitude));
        }
        if (top == std::numeric_limits<int>::min()) {
          sum = plain;  // signed zeros
          continue;
        }
        const int unit = top - fraction;
        std::int64_t total = 0;
        for (int i = 0; i <= terms; ++i) {
          const int shift = parts[i].exponent - unit;
          const std::int64_t m = parts[i].mantissa;
          if (shift >= 0) total += m * (std::int64_t{1} << std::min(shift, 62));
          else if (shift > -63) total += m < 0 ? -(-m >> -shift) : m >> -shift;
        }
        sum = cut(total, unit);
      }
      d[r][n] = sum;
    }
  }
}

}  // namespace simt
