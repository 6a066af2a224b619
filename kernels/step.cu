// Inputs of decode steps: a thread a row, or a piece of 16 bytes.
#include "step.hpp"

#include "ptx.cuh"

namespace splitwiser::step {

template <typename Body>
__device__ __forceinline__ void each_real_row(const std::int32_t* counts, std::int32_t rows, const Body& body) {
  const std::int32_t real = counts[0] < rows ? counts[0] : rows;
  for (std::int64_t row = std::int64_t(blockIdx.x) * blockDim.x + threadIdx.x; row < real;
       row += std::int64_t(gridDim.x) * blockDim.x) {
    body(row);
  }
}

}  // namespace splitwiser::step

using namespace splitwiser;

SPLITWISER_KERNEL(step_feed, StepFeedParams, 128, 8) {
  step::each_real_row(params.counts, params.rows, [&](std::int64_t row) {
    std::int32_t token = params.staged[row];
    if (token < 0 && token != kRowEnded) token = params.drawn[-1 - std::int64_t(token)];
    const bool ended = token == kRowEnded;
    params.token_ids[row] = ended ? 0 : token;
    params.kv_lengths[row] = ended ? 1 : params.lengths[row];
    params.ended[row] = ended ? 1 : 0;
  });
}

SPLITWISER_KERNEL(step_advance, StepAdvanceParams, 128, 8) {
  step::each_real_row(params.counts, params.rows, [&](std::int64_t row) {
    params.token_ids[row] = params.drawn[row];
    params.positions[row] += 1;
    params.lengths[row] += 1;
    if (params.slots != nullptr) params.slots[row].position += 1;
  });
}

SPLITWISER_KERNEL(step_patch, StepPatchParams, 128, 8) {
  for (std::int64_t i = std::int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < params.count;
       i += std::int64_t(gridDim.x) * blockDim.x) {
    params.array[params.pieces[i]] = params.values[i];
  }
}
