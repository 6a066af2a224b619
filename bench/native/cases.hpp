// The cases of the kernel bench. Each times an op on the prefill lane (with nothing on the other lane, all
// threads work), then checks the output of the last run against float64 loops.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/backend.hpp"
#include "measure.hpp"
#include "peak.hpp"

namespace splitwiser::bench {

struct Row {
  std::string name;
  std::string shape;
  Timing timing;
  double achieved = 0;  // per second, in `unit`
  std::string unit;     // "GFLOP/s" or "GB/s"
  double share_of_peak = 0;
  double max_error = 0;  // absolute
  bool ok = false;       // every error within absolute + |reference| * eps
};

struct Context {
  Backend& backend;
  Peak peak;
  bool quick;
  double seconds;  // for one case
};

void linear_cases(const Context& context, std::vector<Row>& rows);
void attention_cases(const Context& context, std::vector<Row>& rows);
void norm_cases(const Context& context, std::vector<Row>& rows);
void model_cases(const Context& context, std::vector<Row>& rows);

// ---- what cases share ------------------------------------------------------------------------

[[nodiscard]] std::vector<float> random_values(std::int64_t count, unsigned seed, float scale = 1);
[[nodiscard]] std::unique_ptr<Matrix> random_matrix(Backend& backend, std::int64_t rows, std::int64_t cols, DType type,
                                                    unsigned seed, float scale = 1);
[[nodiscard]] std::unique_ptr<Vector> random_vector(Backend& backend, std::int64_t size, unsigned seed, float scale = 1);
// Times `body` inside steps of the prefill lane.
[[nodiscard]] Timing time_steps(const Context& context, const std::function<void(Ops&)>& body);
void set_flops(Row& row, const Context& context, double flops);
void set_bytes(Row& row, const Context& context, double bytes);

// Holds results against references.
class Check {
 public:
  explicit Check(double absolute, double relative) : absolute_(absolute), relative_(relative) {}
  void add(double value, double reference);
  void write(Row& row) const;

 private:
  double absolute_;
  double relative_;
  double max_error_ = 0;
  bool ok_ = true;
};

}  // namespace splitwiser::bench
