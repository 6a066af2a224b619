// Whole pages of the cache: copies on fork. The face of pages.cu.
#pragma once

#include <cstdint>

#include "launch.hpp"
#include "types.hpp"

namespace splitwiser {

struct PageCopyItem {
  std::int32_t from;
  std::int32_t to;
  std::int32_t tokens;
};

// Copies the first tokens of pages in every layer, keys and values.
struct PageCopyParams {
  void* pool;                  // [layers][pages][2 * kv_heads][page_size][row]
  const PageCopyItem* items;   // device [count]
  std::int64_t layer_bytes, page_bytes, head_bytes, row_bytes;  // row_bytes a multiple of 16
  std::int32_t count, layers, heads;  // heads: 2 * kv_heads
};
[[nodiscard]] LaunchPlan plan_page_copy(const PageCopyParams& params, const DeviceShape& device);

}  // namespace splitwiser
