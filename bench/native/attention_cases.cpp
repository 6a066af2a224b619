// Attention of OPT-125M: prefill, and paged decode.
#include <algorithm>
#include <cmath>

#include "support/half.hpp"
#include "cases.hpp"
#include "paged.hpp"

namespace splitwiser::bench {

PagedStep::PagedStep(int sequences, int context, int rows, int page_size_)
    : row_indptr{0}, page_indptr{0}, page_size(page_size_) {
  const int pages = (context + page_size - 1) / page_size;
  for (int s = 0; s < sequences; ++s) {
    for (int t = context - rows; t < context; ++t) positions.push_back(t);
    for (int p = 0; p < pages; ++p) page_indices.push_back(p * sequences + s);  // as sequences that grew together
    row_indptr.push_back(std::int32_t(positions.size()));
    page_indptr.push_back(std::int32_t(page_indices.size()));
    last_page_len.push_back((context - 1) % page_size + 1);
  }
  ids.resize(positions.size());
}

namespace {

constexpr int kHeads = 12;
constexpr int kHeadDim = 64;
constexpr std::int64_t kWidth = std::int64_t(kHeads) * kHeadDim;
constexpr int kPageSize = 16;

// Float64 attention of sequence 0's last token, against the last row of sequence 0.
void check_last_row(Row& row, const std::vector<float>& qkv, const float* out, int context, DType type) {
  Check check(1e-5, 1e-5);
  const auto stored = [&](float value) {
    return double(with_type(type, [&](auto t) { return widen(narrow<decltype(t)>(value)); }));
  };
  for (int head = 0; head < kHeads; ++head) {
    const float* q = qkv.data() + (context - 1) * 3 * kWidth + head * kHeadDim;
    std::vector<double> scores;
    double top = -INFINITY;
    for (int j = 0; j < context; ++j) {
      const float* k = qkv.data() + j * 3 * kWidth + kWidth + head * kHeadDim;
      double score = 0;
      for (int d = 0; d < kHeadDim; ++d) score += double(q[d]) * stored(k[d]);
      scores.push_back(score * 0.125);
      top = std::max(top, scores.back());
    }
    for (int d = 0; d < kHeadDim; ++d) {
      double sum = 0;
      double value = 0;
      for (int j = 0; j < context; ++j) {
        const double weight = std::exp(scores[std::size_t(j)] - top);
        sum += weight;
        value += weight * stored(qkv[std::size_t(j * 3 * kWidth + 2 * kWidth + head * kHeadDim + d)]);
      }
      check.add(out[head * kHeadDim + d], value / sum);
    }
  }
  check.write(row);
}

Row run(const Context& context, int sequences, int length, int step_rows, DType type) {
  Backend& backend = context.backend;
  const bool decode = step_rows == 1;
  const AttentionSpec spec{kHeads, kHeads, kHeadDim, 0.125f};
  const PagedStep all(sequences, length, length, kPageSize);
  // Decode must not find its keys in a cache: layers in turn, 128 MB of them.
  const double layer_bytes = 2.0 * sequences * length * kWidth * double(bytes_of(type));
  const int layers = decode ? int(std::clamp(134e6 / layer_bytes, 1.0, 512.0)) : 1;
  const auto pool = backend.make_kv_pool({layers, kHeads, kHeadDim, kPageSize, all.pages(), type});
  std::vector<float> qkv = random_values(std::int64_t(sequences) * length * 3 * kWidth, 3);
  Ops& ops = backend.lane(Phase::prefill).ops();
  const auto rows = std::int64_t(sequences) * length;
  for (int layer = 0; layer < layers; ++layer) {
    ops.write_kv(all.input(), *pool, layer, spec, {qkv.data(), DType::f32, rows, 3 * kWidth});
  }

  const PagedStep step(sequences, length, step_rows, kPageSize);
  std::vector<float> step_qkv;
  for (int s = 0; s < sequences; ++s) {
    const auto end = qkv.begin() + (std::int64_t(s) + 1) * length * 3 * kWidth;
    step_qkv.insert(step_qkv.end(), end - step_rows * 3 * kWidth, end);
  }
  const std::int64_t count = std::int64_t(sequences) * step_rows;
  std::vector<float> out(std::size_t(count * kWidth));
  Row row;
  row.name = std::string(decode ? "attention decode " : "attention prefill ") + name_of(type);
  row.shape = "batch " + std::to_string(sequences) + ", context " + std::to_string(length);
  int turn = 0;
  row.timing = time_steps(context, [&](Ops& lane_ops) {
    lane_ops.attention(step.input(), *pool, turn++ % layers, spec, {step_qkv.data(), DType::f32, count, 3 * kWidth},
                       {out.data(), DType::f32, count, kWidth});
  });
  if (decode) {
    set_bytes(row, context, layer_bytes);
  } else {
    set_flops(row, context, 4.0 * kWidth * double(length) * double(length + 1) / 2);
  }
  check_last_row(row, qkv, out.data() + (step_rows - 1) * kWidth, length, type);
  return row;
}

}  // namespace

void attention_cases(const Context& context, std::vector<Row>& rows) {
  for (const DType type : {DType::f32, DType::f16}) {
    for (const int length : {512, 2048}) {
      if (context.quick && length > 512) continue;
      rows.push_back(run(context, 1, length, length, type));
    }
    for (const int length : {128, 1024}) {
      for (const int sequences : {1, 8}) {
        if (context.quick && sequences > 1) continue;
        rows.push_back(run(context, sequences, length, 1, type));
      }
    }
  }
}

}  // namespace splitwiser::bench
