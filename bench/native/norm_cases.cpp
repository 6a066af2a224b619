#include <cmath>

#include "cases.hpp"

namespace splitwiser::bench {

void norm_cases(const Context& context, std::vector<Row>& rows) {
  constexpr std::int64_t kCols = 768;
  for (const std::int64_t count : {8, 512}) {
    std::vector<float> x = random_values(count * kCols, 1, 3);
    std::vector<float> out(x.size());
    const auto weight = random_vector(context.backend, kCols, 2);
    const auto bias = random_vector(context.backend, kCols, 3);
    Row row;
    row.name = "layer norm";
    row.shape = std::to_string(count) + " x " + std::to_string(kCols);
    row.timing = time_steps(context, [&](Ops& ops) {
      ops.layer_norm({x.data(), DType::f32, count, kCols}, {weight.get(), bias.get(), 1e-5f},
                     {out.data(), DType::f32, count, kCols});
    });
    set_bytes(row, context, 2.0 * double(x.size()) * sizeof(float));  // read and written; may stay in caches

    const std::vector<float> w = random_values(kCols, 2);
    const std::vector<float> b = random_values(kCols, 3);
    Check check(1e-5, 1e-5);
    for (std::int64_t r = 0; r < count; ++r) {
      const float* from = x.data() + r * kCols;
      double mean = 0;
      double variance = 0;
      for (std::int64_t c = 0; c < kCols; ++c) mean += from[c] / double(kCols);
      for (std::int64_t c = 0; c < kCols; ++c) variance += (from[c] - mean) * (from[c] - mean) / double(kCols);
      for (std::int64_t c = 0; c < kCols; ++c) {
        const auto i = std::size_t(c);
        check.add(out[std::size_t(r * kCols + c)], (from[c] - mean) / std::sqrt(variance + 1e-5) * w[i] + b[i]);
      }
    }
    check.write(row);
    rows.push_back(row);
  }
}

}  // namespace splitwiser::bench
