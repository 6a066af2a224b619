#include "engine/policy.hpp"

#include <algorithm>

namespace splitwiser {
namespace {

// A waiting prompt is passed by shorter ones for at most as many milliseconds as it has more tokens.
constexpr double kAgeingTokensPerMs = 1.0;

StepBudget decide_chunked(const LaneLoad& load) {
  if (load.lane == Phase::prefill || load.other_lane_busy) return {};
  // Streams come first, but a quarter of the step stays for prompts: with more streams than rows they would never start.
  const std::int64_t quarter = load.max_batch_tokens > 1 ? std::max<std::int64_t>(1, load.max_batch_tokens / 4) : 0;
  const std::int64_t kept = std::min(load.prompt_tokens, quarter);
  const std::int64_t decode_rows = std::min(load.decodable, load.max_batch_tokens - kept);
  return {decode_rows, std::min(load.prompt_tokens, load.max_batch_tokens - decode_rows)};
}

StepBudget own_phase(const LaneLoad& load) {
  if (load.lane == Phase::prefill) return {0, std::min(load.prompt_tokens, load.max_batch_tokens)};
  return {std::min(load.decodable, load.max_batch_tokens), 0};
}

}  // namespace

StepBudget decide(const LaneLoad& load) {
  switch (load.schedule) {
    case Schedule::sequential:
      if (load.other_lane_busy || (load.lane == Phase::decode && load.prompt_tokens > 0)) return {};
      return own_phase(load);
    case Schedule::chunked: return decide_chunked(load);
    case Schedule::split: return own_phase(load);
  }
  return {};
}

double prompt_rank(std::int64_t prompt_tokens, double waited_ms) {
  return double(prompt_tokens) - kAgeingTokensPerMs * waited_ms;
}

}  // namespace splitwiser
