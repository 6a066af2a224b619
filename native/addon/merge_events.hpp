// A slow reader does not stall the engine: what piled up for one choice becomes one event.
#pragma once

#include <vector>

#include "engine/types.hpp"

namespace splitwiser::addon {

// Joins TokensEvents of the same request and choice (tokens, text, logprobs appended, in order) into the first of them.
// Order within a choice stays: no other event of a choice comes between its tokens.
[[nodiscard]] std::vector<EngineEvent> merge_tokens(std::vector<EngineEvent> events);

}  // namespace splitwiser::addon
