// Device arrays that the nodes of decode graphs read and write. Their addresses never change; what is real of them is said
// by counts on the device.
#pragma once

#include <cstdint>

#include "sample.hpp"
#include "step_view.hpp"

namespace splitwiser::cuda {

struct GraphArrays {
  StepView view{};                       // rows = segments = the graph's bucket
  std::int64_t max_kv_length = 0;        // bound on the sequences of this graph
  const std::int32_t* identity = nullptr;  // 0, 1, 2, ...
  SampleSlot* slots = nullptr;           // [rows]
  SampleOutput* outputs = nullptr;       // [rows]
  std::int32_t* drawn = nullptr;         // [rows]
};

}  // namespace splitwiser::cuda
