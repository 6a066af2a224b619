// Device arrays that the nodes of decode graphs read and write. Their addresses never change; what is real of them is said
// by counts on the device.
#pragma once

#include <cstdint>

#include "sample.hpp"
#include "step_view.hpp"

namespace splitwiser::cuda {

// What one decode step hands to the next.
struct DrawnRows {
  std::int32_t* tokens = nullptr;        // [rows]: drawn by the step before, or kRowEnded
  std::int32_t* ended = nullptr;         // [rows]: of this step, that a step before ended
};

struct GraphArrays {
  StepView view{};                       // rows = segments = the graph's bucket
  std::int64_t max_kv_length = 0;        // bound on the sequences of this graph
  const std::int32_t* identity = nullptr;  // 0, 1, 2, ...
  std::int32_t* lengths = nullptr;       // [rows]: view.kv_lengths but for rows that have ended
  SampleSlot* slots = nullptr;           // [rows]
  const std::int32_t* endings = nullptr;
  SampleOutput* outputs = nullptr;       // [rows]
  DrawnRows drawn;
};

}  // namespace splitwiser::cuda
