// Conversions, matrix products in both modes, arithmetic that differs between host and device.
#include <bit>
#include <cmath>

#include "simt/numbers.hpp"
#include "simt_lab.hpp"

namespace lab {

namespace {

// The nearest f16 by search among all: the definition.
std::uint16_t nearest_f16(double value) {
  const bool negative = std::signbit(value);
  const double magnitude = std::fabs(value);
  if (magnitude >= 65520.0) return negative ? 0xfc00 : 0x7c00;
  std::uint16_t low = 0, high = 0x7c00;
  const auto as_double = [](std::uint16_t bits) {
    const int exponent = bits >> 10;
    const int fraction = bits & 0x3ff;
    return exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(fraction + 1024, exponent - 25);
  };
  while (high - low > 1) {
    const auto middle = static_cast<std::uint16_t>((low + high) / 2);
    (as_double(middle) <= magnitude ? low : high) = middle;
  }
  const double below = magnitude - as_double(low);
  const double above = (high == 0x7c00 ? 65536.0 : as_double(high)) - magnitude;
  const std::uint16_t result = below < above ? low : above < below ? high : (low & 1) == 0 ? low : high;
  return static_cast<std::uint16_t>(result | (negative ? 0x8000 : 0));
}

void test_conversions() {
  bool good = true;
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const bool nan = (bits & 0x7fff) > 0x7c00;
    good = good && simt::narrow_f16(simt::widen_f16(half)) == (nan ? 0x7fff : half);
    const bool bnan = (bits & 0x7fff) > 0x7f80;
    good = good && simt::narrow_bf16(simt::widen_bf16(half)) == (bnan ? 0x7fff : half);
  }
  expect(good, "every 16-bit number comes back from f32");
  good = true;
  std::uint32_t state = 1;
  for (int i = 0; i < 200000; ++i) {
    state = state * 1664525u + 1013904223u;
    // Exponents around f16's range, and fractions that are often a tie.
    const std::uint32_t exponent = 127 - 27 + (state >> 8) % 46;
    const std::uint32_t fraction = (state & 1) != 0 ? state >> 9 : (state >> 9) & 0x7ff000u;
    const float value = std::bit_cast<float>((state & 0x80000000u) | exponent << 23 | fraction);
    good = good && simt::narrow_f16(value) == nearest_f16(value);
  }
  expect(good, "narrowing to f16 is to nearest, ties to even");
  expect(simt::narrow_bf16(std::bit_cast<float>(0x3f808000u)) == 0x3f80 &&
             simt::narrow_bf16(std::bit_cast<float>(0x3f818000u)) == 0x3f82 &&
             simt::narrow_bf16(std::bit_cast<float>(0x7f7fffffu)) == 0x7f80,
         "narrowing to bf16 is to nearest, ties to even");
}

struct Product {
  std::vector<float> got, exact, magnitude;
  bool clean = false;
};

// Random f16 or bf16 matrices; `zero_from`: rows of B from there on are zero (masked keys).
Product multiply(bool bf16, simt::Options options, std::uint32_t seed, int zero_from = 16, bool noise = false) {
  Bench bench(options);
  auto random = [state = seed]() mutable {
    state = state * 1664525u + 1013904223u;
    return static_cast<float>(static_cast<int>(state >> 16) - 32768) / 8192.0f;
  };
  std::vector<std::uint16_t> halves(384);
  for (int i = 0; i < 384; ++i) {
    float value = random();
    const bool masked = i >= 256 && (i - 256) / 8 >= zero_from;
    if (masked) value = 0;
    const bool beside = i < 256 && i % 16 >= zero_from;  // meets only zeros
    if (beside && noise) value = value * 3 + 1;
    halves[static_cast<std::size_t>(i)] = bf16 ? simt::narrow_bf16(value) : simt::narrow_f16(value);
  }
  std::memcpy(bench.a, halves.data(), 768);
  Product product;
  for (int i = 0; i < 128; ++i) bench.b[i] = random();
  bench.machine.host_access({bench.b, 512, true, 1, {}, "upload"});
  const auto widen = bf16 ? &simt::widen_bf16 : &simt::widen_f16;
  for (int r = 0; r < 16; ++r) {
    for (int n = 0; n < 8; ++n) {
      double sum = bench.b[r * 8 + n], size = std::fabs(sum);
      for (int k = 0; k < 16; ++k) {
        const double term = static_cast<double>(widen(halves[static_cast<std::size_t>(r * 16 + k)])) *
                            widen(halves[static_cast<std::size_t>(256 + k * 8 + n)]);
        sum += term;
        size += std::fabs(term);
      }
      product.exact.push_back(static_cast<float>(sum));
      product.magnitude.push_back(static_cast<float>(size));
    }
  }
  bench.run({bf16 ? "multiply_bf16" : "multiply_f16", 1, 32, 1024});
  product.got.assign(bench.b, bench.b + 128);
  product.clean = bench.found().empty();
  return product;
}

void test_products() {
  for (const bool bf16 : {false, true}) {
    for (const auto mode : {simt::MmaMode::ordered, simt::MmaMode::truncated}) {
      bool good = true;
      for (std::uint32_t seed = 1; seed <= 20; ++seed) {
        simt::Options options;
        options.seed = seed;
        options.mma = mode;
        options.arch = seed % 2 == 0 ? 80 : 90;
        const Product product = multiply(bf16, options, seed);
        good = good && product.clean;
        for (std::size_t i = 0; i < 128; ++i) {
          good = good && std::fabs(product.got[i] - product.exact[i]) <= product.magnitude[i] * 0x1p-20f;
        }
        const Product masked = multiply(bf16, options, seed, 9), noisy = multiply(bf16, options, seed, 9, true);
        good = good && masked.got == noisy.got;
      }
      expect(good, std::string("mma ") + (bf16 ? "bf16" : "f16") +
                       (mode == simt::MmaMode::ordered ? ", ordered" : ", truncated") +
                       ": near the exact product, zeros are exact no-ops");
    }
  }
  simt::Options one, two, truncated;
  one.seed = 1;
  two.seed = 2;
  truncated.mma = simt::MmaMode::truncated;
  expect(multiply(false, one, 5).got == multiply(false, one, 5).got, "one seed: the same bits");
  expect(multiply(false, one, 5).got != multiply(false, two, 5).got, "another seed: another order");
  expect(multiply(false, one, 5).got != multiply(false, truncated, 5).got, "truncation is another arithmetic");
}

void test_arithmetic() {
  Bench bench;
  bench.run({"arithmetic", 1, 1});
  const float wanted[] = {2, 3, INFINITY, -INFINITY, 2147483647.0f, 0, 0, 1, 0, 0, 8, 31 + 4 + 8, 0x1p-22f + 0x1p-46f};
  bool good = bench.found().empty();
  for (int i = 0; i < 13; ++i) {
    if (bench.b[i] == wanted[i]) continue;
    std::printf("# %d: %g, not %g\n", i, static_cast<double>(bench.b[i]), static_cast<double>(wanted[i]));
    good = false;
  }
  expect(good, "maximum, saturation, exp2, bit counts and fma as on the device");
}

}  // namespace

void test_numbers() {
  test_conversions();
  test_products();
  test_arithmetic();
}

}  // namespace lab
