// What generation asks of the sampler, and what a sampled token does to its choice.
#pragma once

#include "engine/step.hpp"

namespace splitwiser {

// `row` of the logits; `position` in the sequence of the token that is drawn.
[[nodiscard]] SampleRow sample_row_for(const Request& request, const Choice& choice, std::int64_t row, std::int64_t position);

// May Lane::decode run the choice's next step? `ahead`: tokens that steps in flight are still to draw for it.
[[nodiscard]] bool decodes_plainly(const Request& request, const Choice& choice, std::int64_t ahead);

// Counts the token, makes its text and decides whether the choice ends with it. Touches the choice only: its lane
// owns it while it is in flight.
[[nodiscard]] SampledToken advance(const std::shared_ptr<Request>& request, Choice& choice, SampleResult result);

}  // namespace splitwiser
