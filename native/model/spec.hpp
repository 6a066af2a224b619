// What a model is, in numbers. lib/model/ has read and checked them; families/ says what they mean.
#pragma once

#include <cstdint>

#include "backend/backend.hpp"

namespace splitwiser {

enum class Family : std::uint8_t { opt };

struct ModelSpec {
  Family family = Family::opt;
  int layers = 0;
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
  std::int64_t hidden = 0;
  std::int64_t ffn = 0;
  std::int64_t vocab = 0;
  std::int64_t max_positions = 0;
  std::int64_t embed_dim = 0;  // differs from hidden where the embedding is projected
  float norm_eps = 1e-5f;
  bool pre_norm = true;        // norm before attention and MLP, else after the residual
  bool final_norm = true;
  Activation activation = Activation::relu;
  bool tied_embeddings = true;
  bool biases = true;

  [[nodiscard]] std::int64_t qkv_width() const { return std::int64_t(heads + 2 * kv_heads) * head_dim; }
  [[nodiscard]] std::int64_t attention_width() const { return std::int64_t(heads) * head_dim; }
};

}  // namespace splitwiser
