#include "backend_rig.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>

#include "check.hpp"
#include "child_process.hpp"

namespace splitwiser::cuda_test {
namespace {

std::vector<float> random_values(std::int64_t count, unsigned seed, float middle, float scale) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> distribution(middle - scale, middle + scale);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = distribution(generator);
  return values;
}

Tensor first_rows(Tensor tensor, std::int64_t rows) {
  tensor.rows = rows;
  return tensor;
}

unsigned long long findings() {
  const auto count = reinterpret_cast<unsigned long long (*)()>(simulator_function("simdriver_finding_count"));
  return count != nullptr ? count() : 0;
}

}  // namespace

NoFindings::NoFindings() : before_(findings()) {}
// Fewer where a test has set the counts to zero.
NoFindings::~NoFindings() { CHECK(findings() <= before_); }

void RigStep::add(std::span<const std::int32_t> tokens, std::int32_t first, std::span<const std::int32_t> pages) {
  for (const std::int32_t token : tokens) {
    token_ids.push_back(token);
    positions.push_back(first++);
  }
  row_indptr.push_back(std::int32_t(token_ids.size()));
  page_indices.insert(page_indices.end(), pages.begin(), pages.begin() + (first + page_size - 1) / page_size);
  page_indptr.push_back(std::int32_t(page_indices.size()));
  last_page_len.push_back((first - 1) % page_size + 1);
}

std::unique_ptr<Matrix> Rig::matrix(std::int64_t rows, std::int64_t cols, float scale) {
  const std::vector<float> values = random_values(rows * cols, seed_++, 0, scale);
  const HostMatrix host{reinterpret_cast<const std::byte*>(values.data()), DType::f32, rows, cols};
  return backend_->pack(std::span(&host, 1), storage_);
}

std::unique_ptr<Vector> Rig::vector(std::int64_t size, float middle, float scale) {
  const std::vector<float> values = random_values(size, seed_++, middle, scale);
  const HostMatrix host{reinterpret_cast<const std::byte*>(values.data()), DType::f32, 1, size};
  return backend_->upload(std::span(&host, 1));
}

Rig::Memory Rig::memory() const {
  const DType type = backend_->activation_dtype();
  std::size_t bytes = 0;
  const auto place = [&](std::int64_t cols, DType dtype) {
    const std::size_t at = bytes;
    bytes += (std::size_t(shape_.max_rows * cols) * bytes_of(dtype) + 255) / 256 * 256;
    return Tensor{reinterpret_cast<void*>(at), dtype, shape_.max_rows, cols};
  };
  Memory made;
  made.stream = place(shape_.hidden(), type);
  made.normed = place(shape_.hidden(), type);
  made.qkv = place(shape_.qkv(), type);
  made.attended = place(shape_.hidden(), type);
  made.expanded = place(shape_.ffn, type);
  made.logits = place(shape_.vocab, DType::f32);
  made.buffer = backend_->allocate(bytes);
  for (Tensor* tensor : {&made.stream, &made.normed, &made.qkv, &made.attended, &made.expanded, &made.logits}) {
    tensor->data = static_cast<std::byte*>(made.buffer->data()) + reinterpret_cast<std::size_t>(tensor->data);
  }
  return made;
}

Rig::Rig(std::unique_ptr<Backend> backend, DType storage, const RigShape& shape)
    : backend_(std::move(backend)), storage_(storage), shape_(shape), ascending_(std::size_t(shape.max_rows)) {
  std::iota(ascending_.begin(), ascending_.end(), 0);
  const int hidden = shape.hidden();
  const float scale = 1.6f / std::sqrt(float(hidden));
  // Small beside what layers add, and not the head's: what is drawn depends on the whole sequence.
  tokens_ = matrix(shape.vocab, hidden, 0.4f);
  head_ = matrix(shape.vocab, hidden, 1);
  positions_ = matrix(std::int64_t(shape.pages) * shape.page_size, hidden, 0.3f);
  for (int i = 0; i < shape.layers; i++) {
    Layer layer;
    layer.norm = vector(hidden, 1, 0.2f);
    layer.norm_bias = vector(hidden, 0, 0.1f);
    layer.qkv = matrix(shape.qkv(), hidden, scale);
    layer.qkv_bias = vector(shape.qkv(), 0, 0.2f);
    layer.out = matrix(hidden, hidden, scale);
    layer.out_bias = vector(hidden, 0, 0.1f);
    layer.mlp_norm = vector(hidden, 1, 0.2f);
    layer.mlp_norm_bias = vector(hidden, 0, 0.1f);
    layer.up = matrix(shape.ffn, hidden, scale);
    layer.up_bias = vector(shape.ffn, 0, 0.1f);
    layer.down = matrix(hidden, shape.ffn, scale);
    layer.down_bias = vector(hidden, 0, 0.1f);
    layers_.push_back(std::move(layer));
  }
  pool_ = backend_->make_kv_pool({shape.layers, shape.kv_heads, shape.head_dim, shape.page_size, shape.pages, storage});
  for (Memory& one : memory_) one = memory();
}

Tensor Rig::forward(Phase phase, const StepInput& in) {
  Ops& ops = lane(phase).ops();
  const Memory& at = memory_[int(phase)];
  const std::int64_t rows = in.rows();
  const Tensor stream = first_rows(at.stream, rows);
  const Tensor normed = first_rows(at.normed, rows);
  const Tensor qkv = first_rows(at.qkv, rows);
  const Tensor attended = first_rows(at.attended, rows);
  const Tensor expanded = first_rows(at.expanded, rows);
  const AttentionSpec spec{shape_.heads, shape_.kv_heads, shape_.head_dim, 1 / std::sqrt(float(shape_.head_dim))};
  ops.embed(in, *tokens_, positions_.get(), 0, stream);
  for (int i = 0; i < shape_.layers; i++) {
    if (i > 0) lane(phase).yield_point();
    const Layer& layer = layers_[std::size_t(i)];
    ops.norm_linear(stream, {layer.norm.get(), layer.norm_bias.get(), 1e-5f}, normed, *layer.qkv,
                    {.bias = layer.qkv_bias.get()}, qkv);
    ops.write_kv(in, *pool_, i, spec, qkv);
    ops.attention(in, *pool_, i, spec, qkv, attended);
    ops.linear(attended, *layer.out, {.bias = layer.out_bias.get(), .residual = &stream}, stream);
    ops.norm_linear(stream, {layer.mlp_norm.get(), layer.mlp_norm_bias.get(), 1e-5f}, normed, *layer.up,
                    {.bias = layer.up_bias.get(), .activation = Activation::relu}, expanded);
    ops.linear(expanded, *layer.down, {.bias = layer.down_bias.get(), .residual = &stream}, stream);
  }
  ops.gather_rows(stream, std::span(ascending_).first(std::size_t(rows)), normed);
  const Tensor logits = first_rows(at.logits, rows);
  ops.linear(normed, *head_, {}, logits);
  return logits;
}

DecodeProgram Rig::program(Phase phase) {
  return [this, phase](const StepInput& in, std::span<const SampleRow> samples, std::span<SampleResult> results) {
    const Tensor logits = forward(phase, in);
    lane(phase).ops().sample(logits, samples, results);
  };
}

std::vector<float> Rig::logits(Phase phase, const RigStep& step) {
  Lane& at = lane(phase);
  const StepInput in = step.input();
  std::vector<float> values(std::size_t(in.rows()) * std::size_t(shape_.vocab));
  const StepScope scope(at);
  const Tensor logits = forward(phase, in);
  at.ops().read(logits, std::as_writable_bytes(std::span(values)));
  at.synchronize(*at.record());
  return values;
}

Tensor Rig::load(Phase phase, std::span<const float> values, std::int64_t rows) {
  const std::int64_t hidden = shape_.hidden();
  const HostMatrix host{reinterpret_cast<const std::byte*>(values.data()), DType::f32, rows, hidden};
  loaded_.push_back(backend_->pack(std::span(&host, 1), storage_));
  RigStep step;
  step.page_size = shape_.page_size;
  const auto pages = page_run(0, rows, shape_.page_size);
  step.add(std::span(ascending_).first(std::size_t(rows)), 0, pages);
  Lane& at = lane(phase);
  const StepScope scope(at);
  const Tensor stream = first_rows(memory_[int(phase)].stream, rows);
  at.ops().embed(step.input(), *loaded_.back(), nullptr, 0, stream);
  at.synchronize(*at.record());
  return stream;
}

Tensor Rig::expanded(Phase phase, std::int64_t rows) const { return first_rows(memory_[int(phase)].expanded, rows); }

std::vector<std::int32_t> random_tokens(std::size_t count, int vocab, unsigned seed) {
  std::mt19937 generator(seed);
  std::vector<std::int32_t> tokens(count);
  for (std::int32_t& token : tokens) token = std::int32_t(generator() % unsigned(vocab));
  return tokens;
}

std::vector<std::int32_t> page_run(std::int32_t first, std::int64_t tokens, int page_size) {
  std::vector<std::int32_t> pages(std::size_t((tokens + page_size - 1) / page_size));
  std::iota(pages.begin(), pages.end(), first);
  return pages;
}

bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

float greatest_difference(std::span<const float> a, std::span<const float> b) {
  if (a.size() != b.size()) return INFINITY;
  float greatest = 0;
  for (std::size_t i = 0; i < a.size(); i++) {
    const float difference = std::abs(a[i] - b[i]);
    if (!(difference <= greatest)) greatest = difference;  // NaN stays
  }
  return greatest;
}

}  // namespace splitwiser::cuda_test
