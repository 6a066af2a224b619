// A small decoder over the seam, for any backend: the same numbers go in, and what comes out can be compared.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backend/backend.hpp"

namespace splitwiser::cuda_test {

struct RigShape {
  int layers = 2;
  int heads = 4;
  int kv_heads = 2;
  int head_dim = 32;
  int ffn = 192;
  int vocab = 397;
  int page_size = 16;
  int pages = 48;
  int max_rows = 96;
  [[nodiscard]] int hidden() const { return heads * head_dim; }
  [[nodiscard]] int qkv() const { return (heads + 2 * kv_heads) * head_dim; }
};

// A step whose arrays it owns.
struct RigStep {
  std::vector<std::int32_t> token_ids, positions, row_indptr{0}, page_indptr{0}, page_indices, last_page_len;
  int page_size = 16;

  // Tokens of a sequence from `first` on; `pages` from its beginning.
  void add(std::span<const std::int32_t> tokens, std::int32_t first, std::span<const std::int32_t> pages);
  [[nodiscard]] StepInput input() const {
    return {token_ids, positions, row_indptr, page_indptr, page_indices, last_page_len, page_size};
  }
};

// The simulated device has nothing to say against what was done while this lived.
class NoFindings {
 public:
  NoFindings();
  ~NoFindings();
  NoFindings(const NoFindings&) = delete;
  NoFindings& operator=(const NoFindings&) = delete;

 private:
  unsigned long long before_;
};

class Rig {
 public:
  Rig(std::unique_ptr<Backend> backend, DType storage, const RigShape& shape = {});

  [[nodiscard]] Backend& backend() { return *backend_; }
  [[nodiscard]] Lane& lane(Phase phase) { return backend_->lane(phase); }
  [[nodiscard]] const RigShape& shape() const { return shape_; }
  [[nodiscard]] KvPool& pool() { return *pool_; }

  // All layers; logits of all rows. The lane is inside a step.
  Tensor forward(Phase phase, const StepInput& in);
  // The same with the sampling behind it: what prepare_decode() takes.
  [[nodiscard]] DecodeProgram program(Phase phase);

  // Runs a step of its own and reads the logits: [rows, vocab].
  std::vector<float> logits(Phase phase, const RigStep& step);

  // `rows` rows of a given width, from `values`, in the lane's working memory (the stream). cols: hidden.
  Tensor load(Phase phase, std::span<const float> values, std::int64_t rows);
  [[nodiscard]] const Matrix& weight(int layer) const { return *layers_[std::size_t(layer)].up; }
  [[nodiscard]] const Vector& bias(int layer) const { return *layers_[std::size_t(layer)].up_bias; }
  [[nodiscard]] Tensor expanded(Phase phase, std::int64_t rows) const;

 private:
  struct Layer {
    std::unique_ptr<Vector> norm, norm_bias, mlp_norm, mlp_norm_bias, qkv_bias, out_bias, up_bias, down_bias;
    std::unique_ptr<Matrix> qkv, out, up, down;
  };
  struct Memory {
    std::unique_ptr<Buffer> buffer;
    Tensor stream, normed, qkv, attended, expanded, logits;
  };
  std::unique_ptr<Matrix> matrix(std::int64_t rows, std::int64_t cols, float scale);
  std::unique_ptr<Vector> vector(std::int64_t size, float middle, float scale);
  [[nodiscard]] Memory memory() const;

  NoFindings no_findings_;  // first: sees how the others end
  std::unique_ptr<Backend> backend_;
  DType storage_;
  RigShape shape_;
  unsigned seed_ = 1;
  std::unique_ptr<Matrix> tokens_, head_, positions_;
  std::vector<Layer> layers_;
  std::unique_ptr<KvPool> pool_;
  Memory memory_[kPhases];
  std::vector<std::int32_t> ascending_;
  std::vector<std::unique_ptr<Matrix>> loaded_;
};

[[nodiscard]] std::vector<std::int32_t> random_tokens(std::size_t count, int vocab, unsigned seed);
// Pages first, first + 1, ... for `tokens` tokens.
[[nodiscard]] std::vector<std::int32_t> page_run(std::int32_t first, std::int64_t tokens, int page_size);

[[nodiscard]] bool same_bits(std::span<const float> a, std::span<const float> b);
[[nodiscard]] float greatest_difference(std::span<const float> a, std::span<const float> b);

// Brackets a step, also when a check throws.
class StepScope {
 public:
  explicit StepScope(Lane& lane) : lane_(lane) { lane_.begin_step(); }
  ~StepScope() { lane_.end_step(); }
  StepScope(const StepScope&) = delete;
  StepScope& operator=(const StepScope&) = delete;

 private:
  Lane& lane_;
};

}  // namespace splitwiser::cuda_test
