#pragma once
// placeholder, written by the sampling work
#include <cstdint>
namespace splitwiser {
struct SamplingParams { float temperature = 0; std::int32_t top_k = 0; float top_p = 1; float min_p = 0; float repetition_penalty = 1; float presence_penalty = 0; float frequency_penalty = 0; };
struct TokenCount { std::int32_t token; std::int32_t generated; std::int32_t in_prompt; };
struct TokenBias { std::int32_t token; float bias; };
}
