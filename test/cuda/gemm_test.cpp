// GEMM kernels through the driver: against float64, and the same bits whatever n, kernel and grid.
#include "gemm.hpp"
#include "rows.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>

#include "support/half.hpp"
#include "check.hpp"
#include "device_counters.hpp"
#include "harness.hpp"

namespace splitwiser {
namespace {

using namespace cuda_test;
using Bytes = std::vector<std::byte>;

Bytes stored(DType type, const std::vector<float>& values) {
  Bytes bytes(values.size() * bytes_of(type));
  with_type(type, [&](auto t) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto number = narrow<decltype(t)>(values[i]);
      std::memcpy(bytes.data() + i * sizeof(number), &number, sizeof(number));
    }
  });
  return bytes;
}

std::vector<float> values_of(DType type, const Bytes& bytes) {
  std::vector<float> values(bytes.size() / bytes_of(type));
  with_type(type, [&](auto t) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      std::memcpy(&t, bytes.data() + i * sizeof(t), sizeof(t));
      values[i] = widen(t);
    }
  });
  return values;
}

std::vector<float> random_numbers(std::size_t count, unsigned seed, DType type, float scale = 1) {
  std::mt19937 random(seed);
  std::vector<float> values(count);
  for (float& value : values) value = (float(random()) * 0x1p-31f - 1) * scale;
  return values_of(type, stored(type, values));
}

// Of tokens before the product: by a norm kernel, or by the GEMM itself.
enum class Normed { no, apart, inside };

struct Options {
  bool bias = false, residual = false, alias = false, gated = false;
  Activation activation = Activation::none;
  float soft_cap = 0;
  bool f32_out = false;
  int rows = -1;          // the device's count; -1: none
  int sms = 0;            // of the plan
  int quota = 0;
  int shared_bytes = 0;   // of the plan's device
  Normed normed = Normed::no;
  bool rms = false;       // without a bias, as RMS norms are
};

// The operands of one weight shape for up to `most` tokens: token i is the same for every n.
struct Problem {
  DType type;
  std::int64_t m, k, most;
  std::vector<float> weight, x, bias, residual, norm_weight, norm_bias;
  DeviceArray<std::byte> weight_at;

  Problem(DType type_, std::int64_t m_, std::int64_t k_, std::int64_t most_)
      : type(type_), m(m_), k(k_), most(most_),
        weight(random_numbers(std::size_t(m * k), 1, type, 1 / std::sqrt(float(k)))),
        x(random_numbers(std::size_t(most * k), 2, type)), bias(random_numbers(std::size_t(m), 3, DType::f32)),
        residual(random_numbers(std::size_t(most * m), 4, type)),
        norm_weight(random_numbers(std::size_t(k), 5, DType::f32)), norm_bias(random_numbers(std::size_t(k), 6, DType::f32)) {
    std::vector<float> packed(std::size_t(rows_padded() * k_stride()));
    for (std::int64_t row = 0; row < m; ++row) {
      std::copy_n(weight.begin() + row * k, k, packed.begin() + row * k_stride());
    }
    weight_at = upload<std::byte>(stored(type, packed));
  }

  [[nodiscard]] std::int64_t k_stride() const { return (k + kGemmKAlign - 1) / kGemmKAlign * kGemmKAlign; }
  [[nodiscard]] std::int64_t rows_padded() const { return (m + kGemmMAlign - 1) / kGemmMAlign * kGemmMAlign; }

  // Bytes of out for the first n tokens; `kernel`: which one ran. The memory behind x and residual is NaN, and what lies
  // behind out's rows must stay as it was.
  Bytes run(std::int64_t n, const Options& options = {}, std::string* kernel = nullptr) const {
    const DType out_type = options.f32_out ? DType::f32 : type;
    const std::int64_t columns = options.gated ? m / 2 : m;
    const std::size_t row_bytes = std::size_t(columns) * bytes_of(out_type), behind = 64;
    std::vector<float> tokens(x.begin(), x.begin() + n * k);
    tokens.resize(tokens.size() + std::size_t(3 * k), std::numeric_limits<float>::quiet_NaN());
    Bytes before(std::size_t(n) * row_bytes + behind, std::byte(0xff));
    const Bytes added = stored(out_type, {residual.begin(), residual.begin() + n * columns});
    if (options.alias) std::copy(added.begin(), added.end(), before.begin());

    auto x_at = upload<std::byte>(stored(type, tokens));
    const auto bias_at = upload<float>(bias);
    auto residual_at = upload<std::byte>(added);
    auto out = upload<std::byte>(before);
    const auto rows_at = upload<std::int32_t>(std::vector<std::int32_t>{options.rows});
    GemmParams params{};
    params.weight = weight_at.data();
    params.x = x_at.data();
    params.out = out.data();
    params.bias = options.bias ? bias_at.data() : nullptr;
    params.residual = options.alias ? out.data() : options.residual ? residual_at.data() : nullptr;
    params.rows = options.rows < 0 ? nullptr : rows_at.data();
    params.m = m, params.n = n, params.k = k, params.k_stride = k_stride();
    params.dtype = type, params.out_dtype = out_type;
    params.activation = options.activation, params.gated = options.gated;
    params.soft_cap = options.soft_cap;
    DeviceShape device = shape(options.sms);
    if (options.shared_bytes != 0) device.shared_bytes_per_block = options.shared_bytes;
    const auto norm_weight_at = upload<float>(norm_weight), norm_bias_at = upload<float>(norm_bias);
    const float* const norm_bias_or_none = options.rms ? nullptr : norm_bias_at.data();
    constexpr float kEps = 1e-5f;
    if (options.normed == Normed::inside) {
      params.norm = {norm_weight_at.data(), norm_bias_or_none, kEps, 0, 0, options.rms};
      if (!gemm_normalizes(params, device)) return {};
    } else if (options.normed == Normed::apart) {
      const NormParams norm{x_at.data(), nullptr, nullptr,      x_at.data(), norm_weight_at.data(), norm_bias_or_none,
                            params.rows, n,       k,            kEps,        options.rms,           type};
      launch(plan_norm(norm, device), norm);
    }
    const LaunchPlan plan = plan_gemm(params, device);
    if (kernel != nullptr) *kernel = plan.kernel == nullptr ? "" : plan.kernel;
    if (plan.grid != 0) launch(plan, params, options.quota);

    Bytes after = out.download();
    const std::int64_t real = options.rows < 0 ? n : std::min<std::int64_t>(n, options.rows);
    CHECK(std::equal(after.begin() + std::ptrdiff_t(std::size_t(real) * row_bytes), after.end(),
                     before.begin() + std::ptrdiff_t(std::size_t(real) * row_bytes)));
    after.resize(std::size_t(real) * row_bytes);
    return after;
  }

  // Checks what run(n, options) gave. f32 sums err by about k roundings of partial sums, far less in practice.
  void check_sums(std::int64_t n, const Options& options) const {
    const DType out_type = options.f32_out ? DType::f32 : type;
    std::string kernel;
    const auto got = values_of(out_type, run(n, options, &kernel));
    const std::int64_t columns = options.gated ? m / 2 : m;
    const double eps = out_type == DType::f32 ? 0x1p-22 : out_type == DType::f16 ? 0x1p-11 : 0x1p-8;
    REQUIRE(std::int64_t(got.size()) == n * columns);
    std::int64_t wrong = 0;
    for (std::int64_t token = 0; token < n; ++token) {
      for (std::int64_t column = 0; column < columns; ++column) {
        double magnitude = 0;
        const auto output = [&](std::int64_t row) {
          double sum = 0;
          for (std::int64_t i = 0; i < k; ++i) {
            const double product = double(weight[std::size_t(row * k + i)]) * double(x[std::size_t(token * k + i)]);
            sum += product;
            magnitude += std::abs(product);
          }
          return options.bias ? sum + double(bias[std::size_t(row)]) : sum;
        };
        const auto activated = [&](double value) {
          const double curve = 0.7978845608028654 * (value + 0.044715 * value * value * value);  // sqrt(2 / pi)
          switch (options.activation) {
            case Activation::none: break;
            case Activation::relu: return std::max(value, 0.0);
            case Activation::gelu: return value * 0.5 * (1 + std::erf(value / std::sqrt(2.0)));
            case Activation::gelu_tanh: return value * 0.5 * (1 + std::tanh(curve));
            case Activation::silu: return value / (1 + std::exp(-value));
          }
          return value;
        };
        double expected;
        if (options.gated) {
          const std::int64_t gate = column / 8 * 16 + column % 8;
          const double up = output(gate + 8);
          expected = activated(output(gate)) * up;
          magnitude *= 1 + std::abs(up);
        } else {
          expected = activated(output(column));
        }
        if (options.soft_cap > 0) expected = options.soft_cap * std::tanh(expected / options.soft_cap);
        const auto at = std::size_t(token * columns + column);
        if (options.residual || options.alias) expected += double(residual[at]);
        const double error = std::abs(double(got[at]) - expected);
        if (!(error <= 0x1p-21 * (magnitude + 1) + eps * std::abs(expected))) ++wrong;
      }
    }
    splitwiser::check::record(wrong == 0, __FILE__, __LINE__,
                              std::to_string(wrong) + " outputs of " + kernel + " are wrong at m " + std::to_string(m) +
                                  ", n " + std::to_string(n) + ", k " + std::to_string(k));
  }
};

constexpr DType kTypes[] = {DType::f32, DType::f16, DType::bf16};
constexpr std::int64_t kTokens[] = {1, 2, 7, 8, 9, 16, 17, 33, 64, 65, 128, 130};

TEST("GEMM sums agree with float64 for odd rows, tails of K and any number of tokens") {
  const std::int64_t shapes[][2] = {{128, 64}, {397, 144}, {400, 160}, {256, 768}, {16, 8}, {1, 1032}};
  for (const DType type : kTypes) {
    for (const auto& [m, k] : shapes) {
      const Problem problem(type, m, k, 130);
      for (const std::int64_t n : {1, 9, 33, 130}) {
        if (m * k * n > 4'000'000) continue;
        problem.check_sums(n, {.f32_out = true});
        problem.check_sums(n, {.bias = true, .residual = true, .activation = Activation::relu});
      }
    }
  }
}

TEST("every epilogue of a GEMM, in place too") {
  for (const DType type : kTypes) {
    const Problem even(type, 80, 72, 66), odd(type, 77, 72, 66);
    for (const Problem* problem : {&even, &odd}) {
      for (const std::int64_t n : {5, 66}) {
        problem->check_sums(n, {.bias = true, .soft_cap = 0.75f, .f32_out = true});
        problem->check_sums(n, {.residual = true, .activation = Activation::silu, .soft_cap = 30.0f});
        for (const Activation activation :
             {Activation::none, Activation::relu, Activation::gelu, Activation::gelu_tanh, Activation::silu}) {
          for (const bool f32_out : {false, true}) {
            problem->check_sums(n, {.activation = activation, .f32_out = f32_out});
            problem->check_sums(n, {.bias = true, .alias = true, .activation = activation, .f32_out = f32_out});
            problem->check_sums(n, {.bias = true, .residual = true, .activation = activation, .f32_out = f32_out});
            if (problem == &odd) continue;
            problem->check_sums(n, {.residual = true, .gated = true, .activation = activation, .f32_out = f32_out});
            problem->check_sums(n, {.bias = true, .gated = true, .activation = activation, .f32_out = f32_out});
          }
        }
      }
    }
  }
}

TEST("an element of a GEMM has the same bits for any n, kernel, number of SMs, quota and shared memory") {
  for (const DType type : kTypes) {
    std::set<std::string> kernels;
    for (const auto& [m, k] : {std::pair<std::int64_t, std::int64_t>{397, 144}, {144, 576}}) {
      const Problem problem(type, m, k, 200);
      for (const Options& epilogue :
           {Options{.f32_out = true}, Options{.bias = true, .residual = true, .activation = Activation::gelu}}) {
        if (on_checked_tier() && !epilogue.f32_out) continue;
        const Bytes whole = problem.run(200, epilogue);
        const auto check_bits = [&](std::int64_t n, Options options) {
          std::string kernel;
          const Bytes part = problem.run(n, options, &kernel);
          kernels.insert(kernel);
          splitwiser::check::record(std::equal(part.begin(), part.end(), whole.begin()), __FILE__, __LINE__,
                                    kernel + " gives other bits, n " + std::to_string(n) + ", SMs " +
                                        std::to_string(options.sms));
        };
        for (const std::int64_t n : kTokens) check_bits(n, epilogue);
        if (!epilogue.f32_out) continue;
        for (const std::int64_t n : {3, 31, 60, 128}) {
          for (const int sms : {1, 3, 20, 132}) {
            if (on_checked_tier() && sms != 1 && sms != 132) continue;
            Options options = epilogue;
            options.sms = sms;
            check_bits(n, options);
          }
          Options quota = epilogue, small = epilogue;
          quota.quota = 2;
          check_bits(n, quota);
          small.shared_bytes = 80 * 1024;
          check_bits(n, small);
        }
      }
    }
    CHECK_EQ(kernels.size(), type == DType::f32 ? 2U : 6U);
  }
}

TEST("a GEMM that normalises its tokens gives the bits of a norm and a GEMM") {
  const std::int64_t shapes[][2] = {{144, 72}, {80, 768}, {32, 2048}, {16384 + 8, 64}};
  for (const DType type : kTypes) {
    std::set<std::string> kernels;
    for (const auto& [m, k] : shapes) {
      const Problem problem(type, m, k, 32);
      for (const bool rms : {false, true}) {
        if (rms && k != 72) continue;
        Options options{.bias = true, .activation = Activation::relu, .rms = rms};
        options.normed = Normed::apart;
        const Bytes whole = problem.run(32, options);
        options.normed = Normed::inside;
        const auto check_bits = [&](std::int64_t n) {
          std::string kernel;
          const Bytes part = problem.run(n, options, &kernel);
          if (part.empty()) return;
          kernels.insert(kernel);
          splitwiser::check::record(std::equal(part.begin(), part.end(), whole.begin()), __FILE__, __LINE__,
                                    kernel + " gives other bits, n " + std::to_string(n) + ", k " + std::to_string(problem.k));
        };
        for (const std::int64_t n : {1, 8, 13, 32}) check_bits(n);
        if (k != 72) continue;
        options.rows = 2;
        check_bits(8);
        options.rows = -1, options.sms = 1;
        check_bits(7);
      }
    }
    CHECK_EQ(kernels.size(), type == DType::f32 ? 1U : 3U);
  }
}

TEST("a GEMM normalises few and short rows only") {
  alignas(16) const float weights[4] = {};
  const auto takes = [&](std::int64_t n, std::int64_t k, DType type, int offset = 0) {
    GemmParams params{};
    params.m = 768, params.n = n, params.k = k, params.k_stride = (k + 63) / 64 * 64, params.dtype = params.out_dtype = type;
    params.norm.weight = weights + offset;
    const DeviceShape device{8, 86, 99 * 1024};
    if (gemm_normalizes(params, device)) {
      CHECK(plan_gemm(params, device).shared_bytes <= 99 * 1024);
      return true;
    }
    try {
      static_cast<void>(plan_gemm(params, device));
      CHECK(!"plan_gemm must refuse it");
    } catch (const std::invalid_argument&) {
    }
    return false;
  };
  CHECK(takes(8, 2048, DType::f16) && takes(32, 768, DType::bf16) && takes(8, 768, DType::f32));
  CHECK(!takes(33, 64, DType::f16) && !takes(9, 64, DType::f32));
  CHECK(!takes(1, 2056, DType::f16) && !takes(32, 2048, DType::f16) && !takes(1, 68, DType::f32) && !takes(1, 64, DType::f16, 1));
}

TEST("the wide GEMM with one part of K, against the narrow ones") {
  for (const DType type : {DType::f16, DType::bf16}) {
    const Problem problem(type, 16384 + 8, 64, 66);
    std::string wide, narrow;
    const Bytes whole = problem.run(66, {.sms = 1}, &wide), few = problem.run(5, {}, &narrow);
    CHECK(wide.starts_with("gemm_wide_") && !wide.starts_with("gemm_wide_parts"));
    CHECK(narrow.starts_with("gemm_narrow8_"));
    CHECK(std::equal(few.begin(), few.end(), whole.begin()));
    problem.check_sums(2, {.f32_out = true});
  }
}

TEST("the device's count of rows bounds a GEMM") {
  for (const DType type : kTypes) {
    const Problem problem(type, 272, 192, 100);
    const Bytes whole = problem.run(100);
    for (const std::int64_t n : {8, 16, 32, 64, 100}) {
      for (const int rows : {0, 1, 7, 50, 100, 1000}) {
        const Bytes part = problem.run(n, {.rows = rows});
        CHECK_EQ(part.size(), std::size_t(std::min<std::int64_t>(n, rows) * 272) * bytes_of(type));
        CHECK(std::equal(part.begin(), part.end(), whole.begin()));
      }
    }
  }
}

TEST("a GEMM of no tokens launches nothing, and shapes that no kernel takes are refused") {
  GemmParams params{};
  params.m = 128, params.k = 128, params.k_stride = 128, params.dtype = params.out_dtype = DType::f16;
  CHECK_EQ(plan_gemm(params, {}).grid, 0U);
  const auto refused = [&](auto change) {
    GemmParams changed = params;
    changed.n = 4;
    change(changed);
    try {
      static_cast<void>(plan_gemm(changed, {}));
      return false;
    } catch (const std::invalid_argument&) {
      return true;
    }
  };
  CHECK(!refused([](GemmParams&) {}));
  CHECK(refused([](GemmParams& p) { p.k = 100; }));
  CHECK(refused([](GemmParams& p) { p.k = 192; }));
  CHECK(refused([](GemmParams& p) { p.k_stride = 160; }));
  CHECK(refused([](GemmParams& p) { p.m = 0; }));
  CHECK(refused([](GemmParams& p) { p.gated = true, p.m = 120; }));
  CHECK(refused([](GemmParams& p) { p.out_dtype = DType::bf16; }));
}

}  // namespace
}  // namespace splitwiser
