// Linear layers of OPT-125M.
#include <cmath>

#include "support/half.hpp"
#include "cases.hpp"

namespace splitwiser::bench {
namespace {

struct Shape {
  const char* name;
  std::int64_t outputs;
  std::int64_t inputs;
};
constexpr Shape kShapes[] = {{"qkv", 2304, 768}, {"out", 768, 768}, {"up", 3072, 768}, {"down", 768, 3072},
                             {"head", 50272, 768}};

float stored(float value, DType type) {
  return with_type(type, [&](auto t) { return widen(narrow<decltype(t)>(value)); });
}

Row run(const Context& context, const Shape& shape, std::int64_t rows, DType type) {
  Backend& backend = context.backend;
  const float scale = 1.0f / std::sqrt(float(shape.inputs));
  const bool streams = rows <= 8;  // bound by reading weights
  // Streaming must not find its weights in a cache: copies in turn, 128 MB of them.
  std::vector<std::unique_ptr<Matrix>> copies;
  std::size_t bytes = 0;
  do {
    copies.push_back(random_matrix(backend, shape.outputs, shape.inputs, type, 1, scale));
    bytes += copies.back()->bytes();
  } while (streams && bytes < (std::size_t(128) << 20));

  std::vector<float> x = random_values(rows * shape.inputs, 2);
  std::vector<float> out(std::size_t(rows * shape.outputs));
  const Tensor in_tensor{x.data(), DType::f32, rows, shape.inputs};
  const Tensor out_tensor{out.data(), DType::f32, rows, shape.outputs};
  Row row;
  row.name = std::string("linear ") + shape.name + " " + name_of(type);
  row.shape = std::to_string(rows) + " x " + std::to_string(shape.inputs) + " -> " + std::to_string(shape.outputs);
  std::size_t turn = 0;
  row.timing = time_steps(context, [&](Ops& ops) {
    ops.linear(in_tensor, *copies[turn++ % copies.size()], {}, out_tensor);
  });
  if (streams && rows == 1) {
    set_bytes(row, context, double(copies[0]->bytes()));
  } else {
    set_flops(row, context, 2.0 * double(rows) * double(shape.inputs) * double(shape.outputs));
  }

  const std::vector<float> weights = random_values(shape.outputs * shape.inputs, 1, scale);
  Check check(2e-5, 1e-5);
  for (std::int64_t i = 0; i < 200; ++i) {
    const std::int64_t r = i * 7 % rows;
    const std::int64_t o = i * 7919 % shape.outputs;
    double sum = 0;
    for (std::int64_t k = 0; k < shape.inputs; ++k) {
      sum += double(x[std::size_t(r * shape.inputs + k)]) * stored(weights[std::size_t(o * shape.inputs + k)], type);
    }
    check.add(out[std::size_t(r * shape.outputs + o)], sum);
  }
  check.write(row);
  return row;
}

}  // namespace

void linear_cases(const Context& context, std::vector<Row>& rows) {
  for (const Shape& shape : kShapes) {
    const bool head = shape.outputs > 10'000;
    for (const std::int64_t count : {1, 8, 64, 512}) {
      if (head && (count > 8 || context.quick)) continue;
      if (context.quick && (count == 8 || count == 64)) continue;
      rows.push_back(run(context, shape, count, DType::f32));
    }
  }
  for (const DType type : {DType::f16, DType::bf16}) {
    for (const std::int64_t count : {1, 8, 512}) {
      if (context.quick && count == 8) continue;
      rows.push_back(run(context, kShapes[2], count, type));
    }
  }
}

}  // namespace splitwiser::bench
