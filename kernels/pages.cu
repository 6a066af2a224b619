// Copies of whole pages of the cache.
#include "pages.hpp"

#include "ptx.cuh"

namespace splitwiser::pages {

__device__ __forceinline__ uint4* run_at(const PagePlace& place, std::int64_t page, std::int64_t layer, std::int64_t head) {
  char* data = static_cast<char*>(place.data);
  return reinterpret_cast<uint4*>(data + page * place.page_bytes + layer * place.layer_bytes + head * place.head_bytes);
}

// A block takes the tokens of one head of one page in one layer: one run of bytes.
__device__ __forceinline__ void copy_body(const PageCopyParams& params) {
  const std::int64_t per_item = std::int64_t(params.layers) * params.heads;
  for (std::int64_t unit = blockIdx.x; unit < params.count * per_item; unit += gridDim.x) {
    const std::int64_t index = unit / per_item;
    const std::int64_t layer = (unit - index * per_item) / params.heads;
    const std::int64_t head = unit - index * per_item - layer * params.heads;
    const PageCopyItem item = params.items[index];
    const uint4* from = run_at(params.from, item.from, layer, head);
    uint4* to = run_at(params.to, item.to, layer, head);
    const std::int64_t vectors = item.tokens * params.row_bytes / 16;
    // Four loads under way at a time: plain ones, since this grid may write to the same pool.
    const std::int64_t threads = blockDim.x;
    std::int64_t i = threadIdx.x;
    for (; i + 3 * threads < vectors; i += 4 * threads) {
      uint4 moved[4];
#pragma unroll
      for (int j = 0; j < 4; j++) moved[j] = from[i + j * threads];
#pragma unroll
      for (int j = 0; j < 4; j++) to[i + j * threads] = moved[j];
    }
    for (; i < vectors; i += threads) to[i] = from[i];
  }
}

}  // namespace splitwiser::pages

using namespace splitwiser;

SPLITWISER_KERNEL(copy_pages, PageCopyParams, 128, 8) { pages::copy_body(params); }
