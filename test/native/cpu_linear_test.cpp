#include <cmath>

#include "check.hpp"
#include "cpu_support.hpp"

namespace splitwiser {
namespace {

using namespace cpu_test;

struct Case {
  std::int64_t rows;
  std::int64_t cols;
  std::int64_t outputs;
};
// One row, a few, tile borders, odd widths, several depth blocks.
constexpr Case kCases[] = {{1, 64, 16},   {1, 144, 397},  {2, 160, 144}, {3, 7, 5},    {5, 397, 33},   {6, 768, 48},
                           {7, 256, 160}, {8, 257, 1},    {12, 520, 64}, {13, 1, 17},  {31, 160, 397}, {97, 300, 50},
                           {200, 64, 130}, {1, 3072, 20}, {4, 1030, 64}};

double gelu_reference(double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); }
double gelu_tanh_reference(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)));
}
double silu_reference(double x) { return x / (1 + std::exp(-x)); }

struct Linear {
  std::int64_t rows;
  std::vector<float> x;
  FileMatrix weight;
  FileMatrix bias;
  std::vector<float> residual;

  explicit Linear(const Case& c, DType type)
      : rows(c.rows),
        x(random_values(c.rows * c.cols, 1)),
        weight(c.outputs, c.cols, type, 2),
        bias(1, c.outputs, DType::f32, 3),
        residual(random_values(c.rows * c.outputs, 4)) {}
};

// out[r][o] by plain loops in double, and the sum of magnitudes that its error is measured against.
void reference(const Linear& linear, const Case& c, Activation activation, bool epilogue, std::int64_t r,
               std::int64_t o, double& value, double& magnitude) {
  double sum = 0;
  magnitude = 0;
  for (std::int64_t k = 0; k < c.cols; ++k) {
    const double product = double(linear.x[std::size_t(r * c.cols + k)]) * linear.weight.values[std::size_t(o * c.cols + k)];
    sum += product;
    magnitude += std::abs(product);
  }
  if (epilogue) sum += linear.bias.values[std::size_t(o)];
  if (activation == Activation::relu) sum = std::max(sum, 0.0);
  if (activation == Activation::gelu) sum = gelu_reference(sum);
  if (activation == Activation::gelu_tanh) sum = gelu_tanh_reference(sum);
  if (activation == Activation::silu) sum = silu_reference(sum);
  if (epilogue) sum += linear.residual[std::size_t(r * c.outputs + o)];
  value = sum;
}

std::vector<float> run(Backend& backend, Phase phase, Linear& linear, const Case& c, const Matrix& weight,
                       const Epilogue& epilogue) {
  std::vector<float> out(std::size_t(c.rows * c.outputs), -7.0f);
  const Step step(backend.lane(phase));
  backend.lane(phase).ops().linear(tensor(linear.x, c.rows, c.cols), weight, epilogue, tensor(out, c.rows, c.outputs));
  return out;
}

TEST("cpu linear agrees with float64 for every instruction set, type and shape") {
  for (const cpu::Isa isa : cpu::runnable_isas()) {
    const auto backend = make_backend(isa, 2);
    for (const DType type : kDTypes) {
      int turn = 0;
      for (const Case& c : kCases) {
        const auto activation = Activation(turn++ % 5);
        Linear linear(c, type);
        const auto weight = pack(*backend, linear.weight, type);
        const auto bias = upload(*backend, linear.bias);
        const Tensor residual = tensor(linear.residual, c.rows, c.outputs);
        const auto plain = run(*backend, Phase::prefill, linear, c, *weight, {});
        const auto full =
            run(*backend, Phase::prefill, linear, c, *weight, {bias.get(), activation, &residual});
        for (std::int64_t r = 0; r < c.rows; ++r) {
          for (std::int64_t o = 0; o < c.outputs; ++o) {
            double value = 0;
            double magnitude = 0;
            reference(linear, c, Activation::none, false, r, o, value, magnitude);
            CHECK_NEAR(plain[std::size_t(r * c.outputs + o)], value, 1e-6 + magnitude * 1e-6);
            reference(linear, c, activation, true, r, o, value, magnitude);
            CHECK_NEAR(full[std::size_t(r * c.outputs + o)], value, 2e-6 + magnitude * 1e-6);
          }
        }
      }
    }
  }
}

TEST("a row of a cpu linear has the same bits alone, in any number of rows, with any threads, on either lane") {
  constexpr std::int64_t kRows = 64;
  for (const cpu::Isa isa : cpu::runnable_isas()) {
    const auto one = make_backend(isa, 1);
    const auto two = make_backend(isa, 2);
    for (const DType type : kDTypes) {
      for (const Case& shape : {Case{kRows, 144, 397}, Case{kRows, 600, 160}, Case{kRows, 397, 48}}) {
        Linear all(shape, type);
        const auto weight_one = pack(*one, all.weight, type);
        const auto weight_two = pack(*two, all.weight, type);
        const auto bias = upload(*one, all.bias);
        const auto bias_two = upload(*two, all.bias);
        const Epilogue epilogue{bias.get(), Activation::gelu, nullptr};
        const auto whole = run(*one, Phase::prefill, all, shape, *weight_one, epilogue);
        CHECK(same_bits(whole, run(*two, Phase::decode, all, shape, *weight_two, {bias_two.get(), Activation::gelu})));
        for (const std::int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 17, 25, 37}) {
          const Case part{rows, shape.cols, shape.outputs};
          for (const std::int64_t first : {std::int64_t(0), kRows - rows}) {
            Linear some = all;
            some.x.assign(all.x.begin() + first * shape.cols, all.x.begin() + (first + rows) * shape.cols);
            const auto out = run(*two, Phase::decode, some, part, *weight_two, {bias_two.get(), Activation::gelu});
            CHECK(same_bits(out, std::span(whole).subspan(std::size_t(first * shape.outputs), out.size())));
          }
        }
      }
    }
  }
}

TEST("a cpu linear may write over its residual, and its edge columns leave their neighbours alone") {
  for (const cpu::Isa isa : cpu::runnable_isas()) {
    const auto backend = make_backend(isa, 2);
    for (const Case& c : {Case{1, 144, 397}, Case{20, 520, 37}}) {
      Linear linear(c, DType::f32);
      const auto weight = pack(*backend, linear.weight, DType::f32);
      const Tensor residual = tensor(linear.residual, c.rows, c.outputs);
      const auto expected = run(*backend, Phase::prefill, linear, c, *weight, {nullptr, Activation::none, &residual});
      std::vector<float> inout = linear.residual;
      inout.push_back(42.0f);
      const Tensor target = tensor(inout, c.rows, c.outputs);
      backend->lane(Phase::prefill)
          .ops()
          .linear(tensor(linear.x, c.rows, c.cols), *weight, {nullptr, Activation::none, &target}, target);
      CHECK_EQ(inout.back(), 42.0f);
      inout.pop_back();
      CHECK(same_bits(inout, expected));
    }
  }
}

TEST("pack stacks sources, rounds to nearest even into another type, and reports its size") {
  const auto backend = make_backend(cpu::Isa::portable, 2);
  const FileMatrix q(20, 33, DType::f32, 1);
  const FileMatrix k(7, 33, DType::bf16, 2);
  const FileMatrix v(7, 33, DType::f16, 3);
  const HostMatrix sources[] = {q.host(), k.host(), v.host()};
  const auto packed = backend->pack(sources, DType::f16);
  CHECK_EQ(packed->rows(), 34);
  CHECK_EQ(packed->cols(), 33);
  CHECK(packed->dtype() == DType::f16);
  CHECK_EQ(packed->bytes(), std::size_t(3 * 16 * 33 * 2));

  std::vector<std::int32_t> ids(34);
  for (int i = 0; i < 34; ++i) ids[std::size_t(i)] = i;
  StepInput in;
  in.token_ids = ids;
  std::vector<float> out(34 * 33);
  backend->lane(Phase::prefill).ops().embed(in, *packed, nullptr, 0, tensor(out, 34, 33));
  std::vector<float> stacked = q.values;
  stacked.insert(stacked.end(), k.values.begin(), k.values.end());
  stacked.insert(stacked.end(), v.values.begin(), v.values.end());
  for (float& value : stacked) value = rounded(value, DType::f16);
  CHECK(same_bits(out, stacked));
  CHECK_THROWS_CODE(backend->pack({}, DType::f32), ErrorCode::internal);
}

TEST("relu keeps NaN, so that a broken model shows") {
  for (const cpu::Isa isa : cpu::runnable_isas()) {
    const auto backend = make_backend(isa, 1);
    const Case c{1, 4, 3};
    Linear linear(c, DType::f32);
    linear.x[1] = std::nanf("");
    const auto weight = pack(*backend, linear.weight, DType::f32);
    for (const float y : run(*backend, Phase::prefill, linear, c, *weight, {nullptr, Activation::relu})) {
      CHECK(std::isnan(y));
    }
  }
}

TEST("a linear whose shapes do not fit is refused") {
  const auto backend = make_backend(cpu::Isa::portable, 1);
  const Case c{2, 8, 8};
  Linear linear(c, DType::f32);
  const auto weight = pack(*backend, linear.weight, DType::f32);
  std::vector<float> out(64);
  Ops& ops = backend->lane(Phase::prefill).ops();
  CHECK_THROWS_CODE(ops.linear(tensor(linear.x, 2, 7), *weight, {}, tensor(out, 2, 8)), ErrorCode::internal);
  CHECK_THROWS_CODE(ops.linear(tensor(linear.x, 2, 8), *weight, {}, tensor(out, 1, 8)), ErrorCode::internal);
}

}  // namespace
}  // namespace splitwiser
