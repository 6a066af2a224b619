// What a lane does next, as a pure function of the engine's load: no clock, no pages, no threads.
#pragma once

#include <cstdint>

#include "engine/types.hpp"

namespace splitwiser {

struct LaneLoad {
  Schedule schedule;
  Phase lane;                      // who asks
  bool other_lane_busy;
  std::int64_t decodable;          // choices that wait for their next token
  std::int64_t prompt_tokens;      // of admitted requests, not yet computed
  std::int64_t max_batch_tokens;   // rows of one step
};

struct StepBudget {
  std::int64_t decode_rows = 0;
  std::int64_t prompt_tokens = 0;
};

// sequential: one phase at a time on the whole device, waiting prompts first: running streams stand still until
//   every admitted prompt is computed. The paper's baseline.
// chunked: mixed steps on the decode lane: all streams, then prompt tokens up to the budget (Sarathi-Serve, arXiv
//   2403.02310).
// split: each lane its own phase, both at once.
[[nodiscard]] StepBudget decide(const LaneLoad& load);

// Order among prompts of equal priority: the fewest tokens first, but a prompt gains on the others while it waits,
// so that none starves. Lower goes first.
[[nodiscard]] double prompt_rank(std::int64_t prompt_tokens, double waited_ms);

}  // namespace splitwiser
