// A step's rows on the device.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "attention.hpp"
#include "backend/backend.hpp"
#include "backend/cuda/lane_core.hpp"
#include "step_view.hpp"

namespace splitwiser::cuda {

struct StepArrays {
  StepView view{};
  std::int64_t max_decode_length = 0;    // longest of the segments with one row; 0: there is none
  std::int64_t prefill_rows = 0;         // rows of the segments with more than one
  double prefill_pairs = 0;              // sum of rows * keys over them: what attention costs
  double decode_keys = 0;                // sum of keys over the segments with one row
  bool rounded = false;                  // the view's rows and segments are bounds on the real ones, in few sizes
};

// Checks that the arrays fit together and copies them, with what kernels need beside, in one copy. `rounds`: a step of prompts
// alone looks like others of nearly its size.
[[nodiscard]] StepArrays send_step(LaneCore& lane, const StepInput& in, bool rounds);

// The tiles of prefill attention over the step's segments of more than one row.
struct TileList {
  const AttentionTile* tiles = nullptr;  // device
  std::int32_t count = 0;
};
[[nodiscard]] TileList send_tiles(LaneCore& lane, const StepInput& in, const StepArrays& arrays, int rows_per_tile);

}  // namespace splitwiser::cuda
