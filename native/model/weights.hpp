// The weights of a decoder on a device, whatever the family.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "backend/backend.hpp"
#include "model/spec.hpp"
#include "model/tensors.hpp"

namespace splitwiser {

struct Linear {
  std::unique_ptr<Matrix> weight;
  std::unique_ptr<Vector> bias;  // null: none

  explicit operator bool() const { return weight != nullptr; }
};

struct Norm {
  std::unique_ptr<Vector> weight;
  std::unique_ptr<Vector> bias;

  explicit operator bool() const { return weight != nullptr; }
};

struct LayerWeights {
  Norm attention_norm;
  Linear qkv;  // [q | k | v] stacked
  Linear attention_out;
  Norm mlp_norm;
  Linear up;
  Linear down;
};

struct DecoderWeights {
  std::unique_ptr<Matrix> tokens;     // [vocab, embed_dim]; the head too where embeddings are tied
  std::unique_ptr<Matrix> positions;  // null: none
  int position_offset = 0;            // rows of `positions` before position 0
  Linear project_in;                  // embed_dim -> hidden; empty: equal
  Linear project_out;
  std::vector<LayerWeights> layers;
  Norm final_norm;
  std::unique_ptr<Matrix> head;       // null: tied to `tokens`
  std::int64_t parameters = 0;
  std::size_t bytes = 0;              // on the device

  [[nodiscard]] const Matrix& output() const { return head ? *head : *tokens; }
};

// Called with the bytes of the checkpoint read so far; returns false to give up (throws aborted).
using LoadProgress = std::function<bool(std::uint64_t done, std::uint64_t total)>;

struct WeightLoading {
  const TensorTable& tensors;
  Backend& backend;
  DType storage;
  LoadProgress progress;
};

[[nodiscard]] DecoderWeights load_weights(const ModelSpec& spec, const WeightLoading& loading);

}  // namespace splitwiser
