// Sequences in a paged pool, run through a lane in any order of steps; what must come out, in float64.
#pragma once

#include <algorithm>
#include <cmath>

#include "backend/cpu/storage.hpp"
#include "cpu_support.hpp"

namespace splitwiser::cpu_test {

struct AttentionCase {
  int heads;
  int kv_heads;
  int head_dim;
  int page_size;
  DType dtype;
  [[nodiscard]] AttentionSpec spec() const {
    return {heads, kv_heads, head_dim, 1.0f / std::sqrt(float(head_dim))};
  }
  [[nodiscard]] std::int64_t width() const { return std::int64_t(heads + 2 * kv_heads) * head_dim; }
  [[nodiscard]] std::int64_t out_width() const { return std::int64_t(heads) * head_dim; }
};

// A run of tokens of one sequence.
struct Part {
  std::size_t sequence;
  int begin;
  int end;
};
using Plan = std::vector<std::vector<Part>>;  // steps of parts

struct Sequence {
  int tokens;
  std::vector<float> qkv;            // [tokens][width]
  std::vector<std::int32_t> pages;
};

class AttentionRun {
 public:
  // Pages lie in the pool in no order.
  AttentionRun(Backend& backend, const AttentionCase& c, const std::vector<int>& lengths) : backend_(backend), case_(c) {
    std::int32_t pages = 0;
    for (std::size_t s = 0; s < lengths.size(); ++s) {
      sequences_.push_back({lengths[s], random_values(lengths[s] * c.width(), unsigned(100 + s), 2), {}});
      for (int i = 0; i < lengths[s]; i += c.page_size) sequences_.back().pages.push_back(pages++);
    }
    std::vector<std::int32_t> order(static_cast<std::size_t>(pages));
    for (std::int32_t i = 0; i < pages; ++i) order[std::size_t(i)] = i;
    std::shuffle(order.begin(), order.end(), std::mt19937(9));
    for (Sequence& sequence : sequences_) {
      for (std::int32_t& page : sequence.pages) page = order[std::size_t(page)];
    }
    pool_ = backend.make_kv_pool({2, c.kv_heads, c.head_dim, c.page_size, pages, c.dtype});
  }

  // Outputs of every sequence, [tokens][out_width], after the plan's steps on a lane. Before them the whole pool
  // is NaN.
  std::vector<std::vector<float>> run(Phase phase, const Plan& plan) {
    const auto memory = static_cast<cpu::CpuKvPool&>(*pool_).memory();
    std::fill(memory.begin(), memory.end(), std::byte{0xff});
    std::vector<std::vector<float>> outputs;
    for (const Sequence& sequence : sequences_) {
      outputs.emplace_back(std::size_t(sequence.tokens * case_.out_width()), -1.0f);
    }
    for (const auto& parts : plan) step(backend_.lane(phase), parts, outputs);
    return outputs;
  }

  [[nodiscard]] const Sequence& sequence(std::size_t index) const { return sequences_[index]; }

 private:
  void step(Lane& lane, const std::vector<Part>& parts, std::vector<std::vector<float>>& outputs) {
    std::vector<float> qkv;
    std::vector<std::int32_t> ids, positions, row_indptr{0}, page_indptr{0}, page_indices, last;
    for (const Part& part : parts) {
      const Sequence& sequence = sequences_[part.sequence];
      qkv.insert(qkv.end(), sequence.qkv.begin() + part.begin * case_.width(),
                 sequence.qkv.begin() + part.end * case_.width());
      for (int t = part.begin; t < part.end; ++t) positions.push_back(t);
      row_indptr.push_back(std::int32_t(positions.size()));
      const int pages = (part.end + case_.page_size - 1) / case_.page_size;
      page_indices.insert(page_indices.end(), sequence.pages.begin(), sequence.pages.begin() + pages);
      page_indptr.push_back(std::int32_t(page_indices.size()));
      last.push_back((part.end - 1) % case_.page_size + 1);
    }
    ids.resize(positions.size());
    const StepInput in{ids, positions, row_indptr, page_indptr, page_indices, last, case_.page_size};
    const auto rows = std::int64_t(ids.size());
    std::vector<float> out(std::size_t(rows * case_.out_width()));
    {
      const Step bracket(lane);
      lane.ops().write_kv(in, *pool_, 1, case_.spec(), tensor(qkv, rows, case_.width()));
      lane.ops().attention(in, *pool_, 1, case_.spec(), tensor(qkv, rows, case_.width()),
                           tensor(out, rows, case_.out_width()));
    }
    const float* from = out.data();
    for (const Part& part : parts) {
      const auto count = (part.end - part.begin) * case_.out_width();
      std::copy(from, from + count, outputs[part.sequence].begin() + part.begin * case_.out_width());
      from += count;
    }
  }

  Backend& backend_;
  AttentionCase case_;
  std::vector<Sequence> sequences_;
  std::unique_ptr<KvPool> pool_;
};

// Causal attention of one token and query head, plain loops in double over keys and values as stored.
inline std::vector<double> attention_reference(const AttentionCase& c, const Sequence& sequence, int token, int head) {
  const int kv_head = head / (c.heads / c.kv_heads);
  const auto at = [&](int t, std::int64_t column) { return sequence.qkv[std::size_t(t * c.width() + column)]; };
  const std::int64_t k_column = c.out_width() + std::int64_t(kv_head) * c.head_dim;
  const std::int64_t v_column = k_column + std::int64_t(c.kv_heads) * c.head_dim;
  std::vector<double> scores;
  double top = -INFINITY;
  for (int j = 0; j <= token; ++j) {
    double score = 0;
    for (int d = 0; d < c.head_dim; ++d) {
      score += double(at(token, std::int64_t(head) * c.head_dim + d)) * rounded(at(j, k_column + d), c.dtype);
    }
    scores.push_back(score * c.spec().scale);
    top = std::max(top, scores.back());
  }
  std::vector<double> result(std::size_t(c.head_dim), 0.0);
  double sum = 0;
  for (int j = 0; j <= token; ++j) {
    const double weight = std::exp(scores[std::size_t(j)] - top);
    sum += weight;
    for (int d = 0; d < c.head_dim; ++d) result[std::size_t(d)] += weight * rounded(at(j, v_column + d), c.dtype);
  }
  for (double& value : result) value /= sum;
  return result;
}

inline bool same_bits(const std::vector<std::vector<float>>& a, const std::vector<std::vector<float>>& b) {
  return std::ranges::equal(a, b, [](const auto& x, const auto& y) { return same_bits(std::span(x), std::span(y)); });
}

// One sequence in chunks of `chunk` tokens.
inline Plan chunked(std::size_t sequence, int tokens, int chunk) {
  Plan plan;
  for (int t = 0; t < tokens; t += chunk) plan.push_back({{sequence, t, std::min(tokens, t + chunk)}});
  return plan;
}

}  // namespace splitwiser::cpu_test
