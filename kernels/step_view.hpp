// The rows of one step as kernels see them: device arrays owned by the lane. backend.hpp's StepInput is its source.
#pragma once

#include <cstdint>

namespace splitwiser {

struct StepView {
  const std::int32_t* token_ids;     // [rows]
  const std::int32_t* positions;     // [rows]
  const std::int32_t* row_segments;  // [rows]: the segment that a row belongs to
  const std::int32_t* row_indptr;    // [segments + 1]: rows of segment s
  const std::int32_t* page_indptr;   // [segments]: the first entry of page_indices of segment s
  const std::int32_t* page_indices;  // page ids; a segment may own more pages than its tokens fill
  const std::int32_t* kv_lengths;    // [segments]: tokens in the cache, this step's included
  const std::int32_t* counts;        // [2]: rows and segments that are real. A graph is made for more
  std::int32_t rows;                 // bounds on counts, known at launch: they size grids
  std::int32_t segments;
};

}  // namespace splitwiser
