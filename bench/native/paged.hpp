// Sequences of one length in a paged pool, for attention cases.
#pragma once

#include <vector>

#include "backend/backend.hpp"

namespace splitwiser::bench {

// `sequences` sequences of `context` tokens, of which the last `rows` are this step's.
struct PagedStep {
  std::vector<std::int32_t> ids, positions, row_indptr, page_indptr, page_indices, last_page_len;
  int page_size;

  PagedStep(int sequences, int context, int rows, int page_size_);
  [[nodiscard]] StepInput input() const {
    return {ids, positions, row_indptr, page_indptr, page_indices, last_page_len, page_size};
  }
  [[nodiscard]] std::int64_t pages() const { return std::int64_t(page_indices.size()); }
};

}  // namespace splitwiser::bench
