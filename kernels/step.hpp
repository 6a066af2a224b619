// The inputs of decode steps, made on the device: several steps may be under way before the host knows the first one's
// tokens. The face of step.cu. Rows of a decode step are its segments: one row each.
#pragma once

#include <cstdint>

#include "launch.hpp"
#include "sample.hpp"
#include "step_view.hpp"

namespace splitwiser {

// token_ids[r] = staged[r] >= 0 ? staged[r] : drawn[-1 - staged[r]] for real rows r: DecodeStep's rule for tokens that the
// step before drew. A row that it ended (kRowEnded) goes on as one of token 0 that sees one key, and draws nothing: the
// host, which does not know yet, wants nothing of it. First node of a decode graph; the last one writes `drawn` again
// (SampleParams::tokens).
struct StepFeedParams {
  const std::int32_t* staged;    // [rows]: as the host sent them, or kRowEnded
  const std::int32_t* drawn;     // [rows of the step before]: not token_ids
  const std::int32_t* lengths;   // [rows]: tokens in the cache, this step's included
  std::int32_t* token_ids;       // [rows]: StepView::token_ids of this step; may be `staged`
  std::int32_t* kv_lengths;      // [rows]: StepView::kv_lengths of this step; may be `lengths`
  std::int32_t* ended;           // [rows]: SampleParams::ended of this step
  const std::int32_t* counts;    // StepView::counts
  std::int32_t rows;
};
[[nodiscard]] LaunchPlan plan_step_feed(const StepFeedParams& params, const DeviceShape& device);

// The next step of the same rows without a word from the host: token_ids[r] = drawn[r], positions[r] += 1, lengths[r] += 1,
// slots[r].position += 1 for real rows r. The segments own the pages for it already.
struct StepAdvanceParams {
  const std::int32_t* drawn;     // [rows]
  std::int32_t* token_ids;       // [rows]
  std::int32_t* positions;       // [rows]
  std::int32_t* lengths;         // [rows]: a decode step has as many segments as rows
  SampleSlot* slots;             // [rows] or null
  const std::int32_t* counts;    // StepView::counts
  std::int32_t rows;
};
[[nodiscard]] LaunchPlan plan_step_advance(const StepAdvanceParams& params, const DeviceShape& device);

// What the host changes in the arrays of decode steps: rows that join and leave, pages that are added. array[pieces[i]] =
// values[i].
struct alignas(16) StepPiece {
  std::int32_t words[4];
};
struct StepPatchParams {
  StepPiece* array;
  const StepPiece* values;       // [count]: device or pinned host memory
  const std::int32_t* pieces;    // [count], each once; likewise
  std::int32_t count;
};
[[nodiscard]] LaunchPlan plan_step_patch(const StepPatchParams& params, const DeviceShape& device);

}  // namespace splitwiser
