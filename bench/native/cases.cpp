#include "cases.hpp"

#include <algorithm>
#include <cmath>
#include <random>

namespace splitwiser::bench {

std::vector<float> random_values(std::int64_t count, unsigned seed, float scale) {
  std::minstd_rand generator(seed + 1);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = scale * (float(generator() % 65536) / 32768.0f - 1.0f);
  return values;
}

std::unique_ptr<Matrix> random_matrix(Backend& backend, std::int64_t rows, std::int64_t cols, DType type, unsigned seed,
                                      float scale) {
  const std::vector<float> values = random_values(rows * cols, seed, scale);
  const HostMatrix host{reinterpret_cast<const std::byte*>(values.data()), DType::f32, rows, cols};
  return backend.pack(std::span(&host, 1), type);
}

std::unique_ptr<Vector> random_vector(Backend& backend, std::int64_t size, unsigned seed, float scale) {
  const std::vector<float> values = random_values(size, seed, scale);
  const HostMatrix host{reinterpret_cast<const std::byte*>(values.data()), DType::f32, 1, size};
  return backend.upload(std::span(&host, 1));
}

Timing time_steps(const Context& context, const std::function<void(Ops&)>& body) {
  Lane& lane = context.backend.lane(Phase::prefill);
  lane.begin_step();
  const Timing timing = repeat(context.seconds, [&] { body(lane.ops()); });
  lane.end_step();
  return timing;
}

void set_flops(Row& row, const Context& context, double flops) {
  const double per_second = flops / (row.timing.median_ms * 1e-3);
  row.achieved = per_second * 1e-9;
  row.unit = "GFLOP/s";
  row.share_of_peak = per_second / context.peak.flops;
}

void set_bytes(Row& row, const Context& context, double bytes) {
  const double per_second = bytes / (row.timing.median_ms * 1e-3);
  row.achieved = per_second * 1e-9;
  row.unit = "GB/s";
  row.share_of_peak = per_second / context.peak.read_bytes_per_second;
}

void Check::add(double value, double reference) {
  const double error = std::abs(value - reference);
  if (!(error <= absolute_ + relative_ * std::abs(reference))) ok_ = false;  // NaN fails
  max_error_ = std::isnan(error) ? error : std::max(max_error_, error);
}

void Check::write(Row& row) const {
  row.max_error = max_error_;
  row.ok = ok_;
}

}  // namespace splitwiser::bench
