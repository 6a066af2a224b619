// A model for the fake device, and what it must generate: the same hashes from the token list alone, without pages,
// lanes, steps or batches.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/types.hpp"
#include "model/decoder.hpp"

namespace splitwiser::fake {

// OPT-125M's form (norms first, tied embeddings) or OPT-350M's (norms last, projected embedding, no final norm).
enum class Form { norms_first, norms_last };

[[nodiscard]] ModelSpec make_spec(Form form = Form::norms_first);
[[nodiscard]] DecoderWeights make_weights(const ModelSpec& spec);

// One sequence, token by token.
class Reference {
 public:
  explicit Reference(const ModelSpec& spec) : spec_(spec), cache_(std::size_t(spec.layers)) {}

  void append(std::int32_t token);
  [[nodiscard]] std::size_t length() const { return cache_[0].size(); }
  // Of the last position.
  [[nodiscard]] std::vector<float> logits() const;

 private:
  ModelSpec spec_;
  std::vector<std::vector<std::uint64_t>> cache_;  // [layer][position]
  std::uint64_t state_ = 0;                        // what the head sees
};

[[nodiscard]] std::vector<float> reference_logits(const ModelSpec& spec, const std::vector<std::int32_t>& tokens);

// What a request must give that continues `past`: the tokens of one choice.
[[nodiscard]] std::vector<std::int32_t> reference_tokens(const ModelSpec& spec, const std::vector<std::int32_t>& past,
                                                         const GenerateSpec& generate, std::uint32_t choice = 0);

// Tokens that depend on the seed alone.
[[nodiscard]] std::vector<std::int32_t> make_prompt(const ModelSpec& spec, std::size_t length, std::uint64_t seed);

}  // namespace splitwiser::fake
