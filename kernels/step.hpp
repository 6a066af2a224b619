// The inputs of decode steps, made on the device: several steps may be under way before the host knows the first one's
// tokens. The face of step.cu. Rows of a decode step are its segments: one row each.
#pragma once

#include <cstdint>

#include "launch.hpp"
#include "sample.hpp"
#include "step_view.hpp"

namespace splitwiser {

// token_ids[r] = staged[r] >= 0 ? staged[r] : drawn[-1 - staged[r]] for real rows r: DecodeStep's rule for tokens that the
// step before drew. First node of a decode graph; the last one writes `drawn` again (SampleParams::tokens).
struct StepFeedParams {
  const std::int32_t* staged;    // [rows]: as the host sent them
  const std::int32_t* drawn;     // [rows of the step before]: not token_ids
  std::int32_t* token_ids;       // [rows]: StepView::token_ids of this step; may be `staged`
  const std::int32_t* counts;    // StepView::counts
  std::int32_t rows;
};
[[nodiscard]] LaunchPlan plan_step_feed(const StepFeedParams& params, const DeviceShape& device);

// The next step of the same rows without a word from the host: token_ids[r] = drawn[r], positions[r] += 1,
// kv_lengths[r] += 1, slots[r].position += 1 for real rows r. The segments own the pages for it already.
struct StepAdvanceParams {
  const std::int32_t* drawn;     // [rows]
  std::int32_t* token_ids;       // [rows]
  std::int32_t* positions;       // [rows]
  std::int32_t* kv_lengths;      // [rows]: a decode step has as many segments as rows
  SampleSlot* slots;             // [rows] or null
  const std::int32_t* counts;    // StepView::counts
  std::int32_t rows;
};
[[nodiscard]] LaunchPlan plan_step_advance(const StepAdvanceParams& params, const DeviceShape& device);

}  // namespace splitwiser
