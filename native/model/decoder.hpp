// The face of model/: a decoder-only transformer, written once in terms of Ops.
#pragma once

#include <functional>
#include <memory>
#include <span>

#include "backend/backend.hpp"
#include "model/spec.hpp"
#include "model/weights.hpp"

namespace splitwiser {

// Activations of one lane; lanes share none (invariant 2).
class Workspace {
 public:
  Workspace(Backend& backend, const ModelSpec& spec, std::int64_t max_rows, std::int64_t max_logit_rows);

  [[nodiscard]] std::int64_t max_rows() const { return max_rows_; }
  [[nodiscard]] std::int64_t max_logit_rows() const { return max_logit_rows_; }
  [[nodiscard]] std::size_t bytes() const { return buffer_->bytes(); }

 private:
  friend class Decoder;
  std::int64_t max_rows_;
  std::int64_t max_logit_rows_;
  std::unique_ptr<Buffer> buffer_;
  Tensor stream_, normed_, qkv_, attended_, expanded_, embedded_, logits_;
};

class Decoder {
 public:
  Decoder(ModelSpec spec, DecoderWeights weights);

  [[nodiscard]] const ModelSpec& spec() const { return spec_; }
  [[nodiscard]] const DecoderWeights& weights() const { return weights_; }

  // Runs `in` through all layers, writing its keys and values. Returns the final hidden states of `wanted` rows
  // [wanted, embed_dim] (empty when none are), or nothing when `interrupted` said so between two layers.
  [[nodiscard]] std::optional<Tensor> forward(Lane& lane, const StepInput& in, KvPool& pool, Workspace& workspace,
                                              std::span<const std::int32_t> wanted,
                                              const std::function<bool()>& interrupted) const;

  // Logits f32 [count, vocab] of rows first .. first + count of what forward returned; count <= max_logit_rows.
  [[nodiscard]] Tensor logits(Lane& lane, Tensor states, std::int64_t first, std::int64_t count,
                              Workspace& workspace) const;

 private:
  ModelSpec spec_;
  AttentionSpec attention_;
  DecoderWeights weights_;
};

}  // namespace splitwiser
