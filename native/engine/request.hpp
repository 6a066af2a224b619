// A request in the engine: its spec, its sequence, its choices (n) and their stamps.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "engine/sequence.hpp"
#include "engine/text/text.hpp"
#include "engine/types.hpp"

namespace splitwiser {

// One continuation of the prompt.
struct Choice {
  std::uint32_t index = 0;
  std::shared_ptr<Sequence> sequence;
  std::optional<TextStream> text;      // nothing where the engine has no vocabulary
  std::int64_t generated = 0;
  bool finished = false;
  std::int64_t steps_in_flight = 0;    // steps that have been issued and not committed
  std::uint64_t last_step = 0;         // when it was decoded last: the least recent goes first
  std::int32_t last_row = 0;           // its row of that step
  Timing timing;

  // Distinct tokens seen, kept only where penalties want them.
  std::vector<TokenCount> counts;
  std::unordered_map<std::int32_t, std::size_t> count_of;

  void count(std::int32_t token, bool prompt) {
    const auto [found, added] = count_of.try_emplace(token, counts.size());
    if (added) counts.push_back({token, 0, 0});
    TokenCount& entry = counts[found->second];
    if (prompt) {
      entry.in_prompt = 1;
    } else {
      entry.generated++;
    }
  }
};

enum class RequestState : std::uint8_t { waiting, prefill, decode, ended };

struct Request {
  std::uint64_t id = 0;
  RequestSpec spec;
  RequestState state = RequestState::waiting;
  std::shared_ptr<Sequence> sequence;
  std::int64_t first_token = 0;        // of the tokens that this request computes; before it: the sequence's past
  std::int64_t prompt_tokens = 0;      // length of the sequence when generation begins
  std::int64_t reserved = 0;           // pages promised and not yet taken
  std::int64_t steps_in_flight = 0;
  double deadline_at_ms = 0;           // 0: none
  Timing timing;
  std::vector<std::int32_t> ending_ids;  // end ids, then stop ids: forbidden while minTokens is not reached
  std::vector<Choice> choices;         // sized once, when the prompt is computed

  // Set under the lock, read by lanes between layers.
  std::atomic<bool> cancelled{false};
  std::optional<Failure> failure;

  std::vector<std::optional<TokenLogprob>> prompt_logprobs;
  std::vector<float> logits;

  [[nodiscard]] std::int64_t choice_count() const { return spec.generate ? std::int64_t(spec.generate->choices) : 1; }
  [[nodiscard]] bool penalised() const {
    const SamplingParams& sampling = spec.generate->sampling;
    return sampling.repetition_penalty != 1 || sampling.presence_penalty != 0 || sampling.frequency_penalty != 0;
  }
};

}  // namespace splitwiser
