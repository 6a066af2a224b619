// Whole pages of the cache: copied on fork, gathered to other memory and scattered from it. The face of pages.cu.
#pragma once

#include <cstdint>

#include "launch.hpp"
#include "types.hpp"

namespace splitwiser {

struct PageCopyItem {
  std::int32_t from;  // of PageCopyParams::from
  std::int32_t to;    // of PageCopyParams::to
  std::int32_t tokens;
};

// Where pages lie: head h of page p in layer l begins at l * layer_bytes + p * page_bytes + h * head_bytes, a multiple of 16.
// A pool has [layers][pages][2 * kv_heads][page_size][row]; pinned host memory, to which a sequence goes while its pages are
// wanted by others, rather [pages][layers]...: one run of bytes a page.
struct PagePlace {
  void* data;
  std::int64_t layer_bytes, page_bytes, head_bytes;
};

// Copies the first tokens of pages in every layer, keys and values. No page is both read and written.
struct PageCopyParams {
  PagePlace from, to;
  const PageCopyItem* items;   // device [count]
  std::int64_t row_bytes;      // a multiple of 16
  std::int32_t count, layers, heads;  // heads: 2 * kv_heads
};
[[nodiscard]] LaunchPlan plan_page_copy(const PageCopyParams& params, const DeviceShape& device);

}  // namespace splitwiser
