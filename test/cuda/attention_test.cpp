// Attention kernels through the driver: against float64, and a row's bits the same from decode, from prefill, from any chunk
// and any number of SMs.
#include "attention.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
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
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

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

struct Shape {
  std::vector<int> lengths;  // tokens of each sequence
  int heads = 1, kv_heads = 1, head_dim = 64;
  DType kv_type = DType::f16;
  DType type = DType::f16;
  int page_size = 16;
  int window = 0;
  float soft_cap = 0;
  bool alibi = false;
};

// Rows [first, last) of a sequence.
struct Range {
  int first, last;
};

// Sequences with their queries, keys and values; pages in random order, whatever no token has is NaN.
struct Sequences {
  Shape shape;
  int row;
  std::vector<std::vector<float>> q, k, v;  // of each sequence: [tokens, heads or kv_heads, head_dim]
  std::vector<std::vector<std::int32_t>> pages;
  std::vector<float> slopes;
  std::int64_t pool = 3;

  explicit Sequences(Shape given) : shape(std::move(given)), row(padded_head_dim(shape.head_dim)) {
    std::mt19937 random(7);
    const auto numbers = [&](int tokens, int heads, DType type) {
      std::vector<float> values(std::size_t(tokens) * std::size_t(heads * shape.head_dim));
      for (float& value : values) value = (float(random()) * 0x1p-31f - 1) * 1.7f;
      return values_of(type, stored(type, values));
    };
    for (const int tokens : shape.lengths) {
      q.push_back(values_of(shape.kv_type, stored(shape.kv_type, numbers(tokens, shape.heads, shape.type))));
      k.push_back(numbers(tokens, shape.kv_heads, shape.kv_type));
      v.push_back(numbers(tokens, shape.kv_heads, shape.kv_type));
      pool += pages_of(tokens);
    }
    std::vector<std::int32_t> order(static_cast<std::size_t>(pool));
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = std::int32_t(i);
    std::shuffle(order.begin(), order.end(), random);
    auto next = order.begin();
    for (const int tokens : shape.lengths) {
      pages.emplace_back(next, next + pages_of(tokens));
      next += pages_of(tokens);
    }
    for (int h = 0; shape.alibi && h < shape.heads; ++h) slopes.push_back(std::exp2(-float(h % 8 + 1)));
  }

  [[nodiscard]] int pages_of(int tokens) const { return (tokens + shape.page_size - 1) / shape.page_size; }
  [[nodiscard]] float scale() const { return 1 / std::sqrt(float(shape.head_dim)); }

  // The pool with the first `length` tokens of each sequence.
  [[nodiscard]] Bytes cache(const std::vector<std::vector<float>>& numbers, const std::vector<Range>& ranges) const {
    const std::size_t head_stride = std::size_t(shape.page_size * row), page_stride = head_stride * std::size_t(shape.kv_heads);
    std::vector<float> values(std::size_t(pool) * page_stride, kNaN);
    for (std::size_t s = 0; s < ranges.size(); ++s) {
      for (int t = 0; t < ranges[s].last; ++t) {
        for (int h = 0; h < shape.kv_heads; ++h) {
          float* to = values.data() + std::size_t(pages[s][std::size_t(t / shape.page_size)]) * page_stride +
                      std::size_t(h) * head_stride + std::size_t(t % shape.page_size * row);
          const float* from = numbers[s].data() + std::size_t((t * shape.kv_heads + h) * shape.head_dim);
          std::fill_n(std::copy_n(from, shape.head_dim, to), row - shape.head_dim, 0.0f);
        }
      }
    }
    return stored(shape.kv_type, values);
  }

  // [rows, heads * head_dim] of each range. `padding` segments that are not real follow; sms: of the plans; quota: of the launch.
  [[nodiscard]] std::vector<std::vector<float>> run(const std::vector<Range>& ranges, int sms = 0, int quota = 0,
                                                    int padding = 0) const {
    std::vector<std::int32_t> row_indptr{0}, page_indptr{0}, page_indices, lengths;
    std::vector<float> qkv;
    const std::int64_t cols = std::int64_t(shape.heads + 2 * shape.kv_heads) * shape.head_dim;
    const std::int64_t out_cols = std::int64_t(shape.heads) * shape.head_dim;
    AttentionParams params{};
    const int tile_rows = prefill_tile_rows(shape.heads, shape.kv_heads, shape.head_dim, shape.kv_type);
    std::vector<AttentionTile> tiles;
    for (std::size_t s = 0; s < ranges.size(); ++s) {
      const auto [first, last] = ranges[s];
      for (int t = first; t < last; ++t) {
        qkv.insert(qkv.end(), q[s].begin() + t * out_cols, q[s].begin() + (t + 1) * out_cols);
        qkv.resize(qkv.size() + std::size_t(cols - out_cols), kNaN);
      }
      for (int r = 0; last - first > 1 && r < last - first; r += tile_rows) tiles.push_back({std::int32_t(s), r});
      row_indptr.push_back(row_indptr.back() + last - first);
      page_indices.insert(page_indices.end(), pages[s].begin(), pages[s].begin() + pages_of(last));
      page_indptr.push_back(std::int32_t(page_indices.size()));
      lengths.push_back(last);
      params.max_kv_length = std::max<std::int64_t>(params.max_kv_length, last);
    }
    const std::int32_t rows = row_indptr.back(), segments = std::int32_t(ranges.size());
    // A graph is made for more: each of these looks like a row of one token, but the counts say that there is none.
    for (int i = 0; i < padding; ++i) {
      row_indptr.push_back(row_indptr.back() + 1);
      page_indptr.push_back(page_indptr.back());
      lengths.push_back(1);
    }
    const auto row_indptr_at = upload<std::int32_t>(row_indptr), page_indptr_at = upload<std::int32_t>(page_indptr),
               page_indices_at = upload<std::int32_t>(page_indices), lengths_at = upload<std::int32_t>(lengths),
               counts_at = upload<std::int32_t>(std::vector<std::int32_t>{rows, segments});
    const auto keys = upload<std::byte>(cache(k, ranges)), values = upload<std::byte>(cache(v, ranges));
    const auto qkv_at = upload<std::byte>(stored(shape.type, qkv));
    const auto slopes_at = upload<float>(slopes);
    const auto tiles_at = upload<AttentionTile>(tiles);
    const auto out = filled<std::byte>(std::size_t(rows * out_cols) * bytes_of(shape.type), 0xff);
    params.step.row_indptr = row_indptr_at.data();
    params.step.page_indptr = page_indptr_at.data();
    params.step.page_indices = page_indices_at.data();
    params.step.kv_lengths = lengths_at.data();
    params.step.counts = counts_at.data();
    params.step.rows = rows + padding;
    params.step.segments = segments + padding;
    params.kv.keys = keys.data();
    params.kv.values = values.data();
    params.kv.head_stride = std::int64_t(shape.page_size) * row;
    params.kv.page_stride = params.kv.head_stride * shape.kv_heads;
    params.kv.row = row;
    params.kv.page_size = shape.page_size;
    params.kv.dtype = shape.kv_type;
    params.qkv = qkv_at.data();
    params.out = out.data();
    params.qkv_cols = cols;
    params.dtype = shape.type;
    params.heads = shape.heads;
    params.kv_heads = shape.kv_heads;
    params.head_dim = shape.head_dim;
    params.scale = scale();
    params.window = shape.window;
    params.soft_cap = shape.soft_cap;
    params.alibi_slopes = slopes_at.data();
    params.tiles = tiles_at.data();
    params.tile_count = std::int32_t(tiles.size());
    const auto partials = filled<float>(std::size_t(decode_partial_floats(params)), 0xff);
    const auto arrivals = filled<std::uint32_t>(std::size_t(decode_arrivals(params)), 0);
    params.partials = partials.data();
    params.arrivals = arrivals.data();
    const bool single = std::ranges::any_of(ranges, [](const Range& range) { return range.last - range.first == 1; });
    const DeviceShape device = cuda_test::shape(sms);
    if (const LaunchPlan plan = plan_attention_prefill(params, device); plan.grid != 0) launch(plan, params, quota);
    if (const LaunchPlan plan = plan_attention_decode(params, device); single && plan.grid != 0) launch(plan, params, quota);
    const auto flat = values_of(shape.type, out.download());
    CHECK(std::ranges::all_of(arrivals.download(), [](std::uint32_t count) { return count == 0; }));
    std::vector<std::vector<float>> results;
    for (std::size_t s = 0; s < ranges.size(); ++s) {
      results.emplace_back(flat.begin() + row_indptr[s] * out_cols, flat.begin() + row_indptr[s + 1] * out_cols);
    }
    return results;
  }

  [[nodiscard]] std::vector<Range> whole() const {
    std::vector<Range> ranges;
    for (const int tokens : shape.lengths) ranges.push_back({0, tokens});
    return ranges;
  }

  // Error of one head of one row as a part of its tolerance: absolute + eps * (what the weights make of |v|).
  [[nodiscard]] double error_of(std::size_t s, int position, int head, const float* got) const {
    const int kv_head = head / (shape.heads / shape.kv_heads), dim = shape.head_dim;
    const int first = shape.window > 0 ? std::max(0, position - shape.window + 1) : 0;
    const float* query = q[s].data() + std::size_t((position * shape.heads + head) * dim);
    std::vector<double> weights;
    double most = -std::numeric_limits<double>::infinity();
    for (int key = first; key <= position; ++key) {
      const float* other = k[s].data() + std::size_t((key * shape.kv_heads + kv_head) * dim);
      double score = 0;
      for (int d = 0; d < dim; ++d) score += double(query[d]) * double(other[d]);
      score *= double(scale());
      if (shape.soft_cap > 0) score = double(shape.soft_cap) * std::tanh(score / double(shape.soft_cap));
      if (shape.alibi) score += double(slopes[std::size_t(head)]) * (key - position);
      weights.push_back(score);
      most = std::max(most, score);
    }
    double sum = 0;
    for (double& weight : weights) sum += weight = std::exp(weight - most);
    const double eps = shape.kv_type == DType::bf16 || shape.type == DType::bf16   ? 0x1p-7
                       : shape.kv_type == DType::f16 || shape.type == DType::f16 ? 0x1p-10
                                                                                 : 0x1p-20;
    double worst = 0;
    for (int d = 0; d < dim; ++d) {
      double expected = 0, size = 0;
      for (int key = first; key <= position; ++key) {
        const double share = weights[std::size_t(key - first)] / sum *
                             double(v[s][std::size_t((key * shape.kv_heads + kv_head) * dim + d)]);
        expected += share;
        size += std::abs(share);
      }
      const double error = std::abs(double(got[d]) - expected) / (4e-6 + 1.5 * eps * size);
      worst = error <= worst ? worst : std::isnan(error) ? 1e9 : error;
    }
    return worst;
  }

  [[nodiscard]] std::string name() const {
    return std::string(name_of(shape.kv_type)) + " head dim " + std::to_string(shape.head_dim) + ", heads " +
           std::to_string(shape.heads) + "/" + std::to_string(shape.kv_heads) + ", page " + std::to_string(shape.page_size) +
           ", window " + std::to_string(shape.window) + ", " + std::to_string(shape.lengths[0]) + " tokens";
  }

  // Every row of whole prompts, or every `stride`-th.
  void check_close(const std::vector<std::vector<float>>& got, int stride = 1) const {
    double worst = 0;
    for (std::size_t s = 0; s < got.size(); ++s) {
      for (int position = shape.lengths[s] - 1; position >= 0; position -= stride) {
        for (int head = 0; head < shape.heads; head += std::max(1, shape.heads / 9)) {
          worst = std::max(worst, error_of(s, position, head,
                                           got[s].data() + std::size_t((position * shape.heads + head) * shape.head_dim)));
        }
      }
    }
    splitwiser::check::record(worst <= 1, __FILE__, __LINE__, name() + ": error is " + std::to_string(worst) + " of the tolerance");
  }

  // The same rows as in `got` (of whole prompts), to the bit.
  void check_bits(const std::vector<std::vector<float>>& got, const std::vector<Range>& ranges, const char* how, int sms = 0,
                  int quota = 0, int padding = 0) const {
    const auto part = run(ranges, sms, quota, padding);
    const std::size_t cols = std::size_t(shape.heads * shape.head_dim);
    for (std::size_t s = 0; s < ranges.size(); ++s) {
      const float* whole_rows = got[s].data() + std::size_t(ranges[s].first) * cols;
      const bool same = std::memcmp(part[s].data(), whole_rows, part[s].size() * sizeof(float)) == 0;
      splitwiser::check::record(same, __FILE__, __LINE__,
                                name() + ": rows " + std::to_string(ranges[s].first) + " to " + std::to_string(ranges[s].last) +
                                    " have other bits, " + how);
    }
  }

  // The last rows by decode, then the last rows in chunks of `rows`.
  void check_parts(const std::vector<std::vector<float>>& got, std::initializer_list<int> sizes) const {
    for (const int size : sizes) {
      std::vector<Range> ranges;
      for (const int tokens : shape.lengths) ranges.push_back({std::max(0, tokens - size), tokens});
      check_bits(got, ranges, size == 1 ? "by decode" : "in a chunk", 0, 0, size == 1 ? 3 : 0);
    }
  }
};

constexpr DType kTypes[] = {DType::f32, DType::f16, DType::bf16};
constexpr int kHeadDims[] = {64, 80, 96, 128, 256};

TEST("attention agrees with float64 and between decode and prefill, every head dim and type") {
  for (const DType type : kTypes) {
    for (const int dim : kHeadDims) {
      for (const int page_size : {16, 64}) {
        if (on_checked_tier() && page_size == 64 && dim != 64) continue;
        const std::vector<int> few{2, 65}, many{1, 2, 17, 65, 130};
        const Sequences sequences({.lengths = on_checked_tier() ? few : many, .heads = 4, .kv_heads = 2, .head_dim = dim, .kv_type = type,
                                   .type = type, .page_size = page_size});
        const auto whole = sequences.run(sequences.whole());
        sequences.check_close(whole);
        sequences.check_parts(whole, {1, 2, 40});
      }
    }
  }
}

TEST("attention at the edges of leaves and splits") {
  for (const DType type : kTypes) {
    for (const int length : {15, 16, 63, 64, 511, 512, 513, 1025}) {
      const Sequences sequences({.lengths = {length}, .head_dim = 64, .kv_type = type, .type = type});
      const auto whole = sequences.run(sequences.whole());
      sequences.check_close(whole, length > 200 ? 37 : 1);
      sequences.check_parts(whole, {1, 3});
    }
  }
}

TEST("attention of every kind of group") {
  for (const auto& [heads, kv_heads] : {std::pair{1, 1}, {4, 2}, {12, 3}, {8, 1}, {71, 1}, {20, 1}}) {
    const Sequences sequences({.lengths = {30, 3}, .heads = heads, .kv_heads = kv_heads, .head_dim = 64});
    const auto whole = sequences.run(sequences.whole());
    sequences.check_close(whole, 5);
    sequences.check_parts(whole, {1, 7});
  }
  const Sequences falcon({.lengths = {530}, .heads = 71, .kv_heads = 1, .head_dim = 64, .page_size = 64});
  const auto chunk = falcon.run({{526, 530}})[0], last = falcon.run({{529, 530}})[0];
  CHECK(std::equal(last.begin(), last.end(), chunk.end() - std::ptrdiff_t(last.size())));
}

TEST("attention with windows, slopes and caps") {
  for (const DType type : {DType::f32, DType::f16}) {
    if (on_checked_tier() && type == DType::f32) continue;
    for (const Shape& more : {Shape{.lengths = {}, .window = 1}, Shape{.lengths = {}, .window = 50}, Shape{.lengths = {}, .window = 600},
                              Shape{.lengths = {}, .alibi = true}, Shape{.lengths = {}, .soft_cap = 2},
                              Shape{.lengths = {}, .window = 100, .soft_cap = 3, .alibi = true}}) {
      Shape shape = more;
      shape.lengths = {640, 40};
      shape.heads = 2;
      shape.kv_type = shape.type = type;
      shape.page_size = 48;
      const Sequences sequences(shape);
      const auto whole = sequences.run(sequences.whole());
      sequences.check_close(whole, 29);
      sequences.check_parts(whole, {1, 2, 100});
    }
  }
}

TEST("attention of odd head dims and of activations in another type than the cache") {
  for (const int dim : {1, 37, 72, 100, 144}) {
    for (const auto& [type, kv_type] : {std::pair{DType::f16, DType::f16}, {DType::f32, DType::bf16}, {DType::bf16, DType::f16},
                                        {DType::f16, DType::f32}}) {
      const Sequences sequences({.lengths = {70, 4}, .heads = 3, .kv_heads = 3, .head_dim = dim, .kv_type = kv_type, .type = type});
      const auto whole = sequences.run(sequences.whole());
      sequences.check_close(whole, 3);
      sequences.check_parts(whole, {1, 33});
    }
  }
}

TEST("a row of attention has the same bits on any number of SMs and beside any other rows") {
  // f32 outputs: rounding to 16 bits would hide most differences. On 1 SM a warp of decode has a unit, on 132 a block.
  for (const int head_dim : {64, 128}) {
    if (on_checked_tier() && head_dim == 128) continue;
    const Sequences sequences({.lengths = {1100, 513, 77, 1, 260}, .heads = 4, .kv_heads = 2, .head_dim = head_dim, .type = DType::f32});
    const auto whole = sequences.run(sequences.whole());
    sequences.check_close(whole, 211);
    for (const int sms : {1, 3, 20, 132}) {
      if (on_checked_tier() && sms != 1 && sms != 132) continue;
      sequences.check_bits(whole, {{1060, 1100}, {500, 513}, {0, 77}, {0, 1}, {180, 260}}, "prefill on other SMs", sms);
      sequences.check_bits(whole, {{1099, 1100}, {512, 513}, {76, 77}, {0, 1}, {259, 260}}, "decode on other SMs", sms, 0, 30);
    }
    sequences.check_bits(whole, {{1099, 1100}, {200, 513}, {76, 77}, {0, 1}, {100, 260}}, "decode and prefill together", 0, 2);
  }
}

}  // namespace
}  // namespace splitwiser
