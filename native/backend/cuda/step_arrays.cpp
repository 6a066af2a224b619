#include "backend/cuda/step_arrays.hpp"

#include <algorithm>
#include <cstring>

namespace splitwiser::cuda {
namespace {

constexpr std::size_t kArrayAlignment = 16;

void check_step(const StepInput& in) {
  const auto rows = std::size_t(in.rows());
  const auto segments = std::size_t(in.segments());
  const bool sizes = in.positions.size() == rows && in.row_indptr.size() == segments + 1 &&
                     in.page_indptr.size() == segments + 1 && in.page_size > 0;
  if (!sizes || in.row_indptr.front() != 0 || std::size_t(in.row_indptr.back()) != rows || in.page_indptr.front() != 0 ||
      std::size_t(in.page_indptr.back()) > in.page_indices.size()) {
    throw Error(ErrorCode::internal, "a step's arrays do not fit together");
  }
  for (std::size_t s = 0; s < segments; s++) {
    if (in.row_indptr[s] > in.row_indptr[s + 1] || in.page_indptr[s] >= in.page_indptr[s + 1]) {
      throw Error(ErrorCode::internal, "a step has a segment without rows or pages in their order");
    }
  }
}

// Lays arrays one after another in a block.
class Layout {
 public:
  std::size_t place(std::size_t count) {
    const std::size_t at = bytes_;
    bytes_ += (count * sizeof(std::int32_t) + kArrayAlignment - 1) / kArrayAlignment * kArrayAlignment;
    return at;
  }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  std::size_t bytes_ = 0;
};

}  // namespace

StepArrays send_step(LaneCore& lane, const StepInput& in) {
  check_step(in);
  const auto rows = std::size_t(in.rows());
  const auto segments = std::size_t(in.segments());
  Layout layout;
  const std::size_t counts = layout.place(2);
  const std::size_t ids = layout.place(rows);
  const std::size_t positions = layout.place(rows);
  const std::size_t row_segments = layout.place(rows);
  const std::size_t row_indptr = layout.place(segments + 1);
  const std::size_t page_indptr = layout.place(segments + 1);
  const std::size_t kv_lengths = layout.place(segments);
  const std::size_t pages = layout.place(in.page_indices.size());
  const Staging::Block block = lane.staging().take(layout.bytes());
  const auto host = [&](std::size_t at) { return reinterpret_cast<std::int32_t*>(block.host + at); };
  const auto copy = [&](std::size_t at, std::span<const std::int32_t> values) {
    std::ranges::copy(values, host(at));
  };
  copy(ids, in.token_ids);
  copy(positions, in.positions);
  copy(row_indptr, in.row_indptr);
  copy(page_indptr, in.page_indptr);
  copy(pages, in.page_indices);
  host(counts)[0] = std::int32_t(rows);
  host(counts)[1] = std::int32_t(segments);

  StepArrays arrays;
  for (std::size_t s = 0; s < segments; s++) {
    const std::int64_t length = in.kv_length(std::int64_t(s));
    const std::int32_t begin = in.row_indptr[s];
    const std::int32_t end = in.row_indptr[s + 1];
    host(kv_lengths)[s] = std::int32_t(length);
    std::fill(host(row_segments) + begin, host(row_segments) + end, std::int32_t(s));
    if (end - begin == 1) {
      arrays.max_decode_length = std::max(arrays.max_decode_length, length);
      arrays.decode_keys += double(length);
    } else {
      arrays.prefill_rows += end - begin;
      arrays.prefill_pairs += double(end - begin) * double(length);
    }
  }
  lane.send(block);
  const auto device = [&](std::size_t at) { return reinterpret_cast<const std::int32_t*>(block.device + at); };
  arrays.view = {device(ids),        device(positions),  device(row_segments), device(row_indptr), device(page_indptr),
                 device(pages),      device(kv_lengths), device(counts),       std::int32_t(rows), std::int32_t(segments)};
  return arrays;
}

TileList send_tiles(LaneCore& lane, const StepInput& in, int rows_per_tile) {
  std::size_t count = 0;
  const auto each = [&](const auto& body) {
    for (std::int64_t s = 0; s < in.segments(); s++) {
      const std::int32_t rows = in.row_indptr[std::size_t(s) + 1] - in.row_indptr[std::size_t(s)];
      if (rows < 2) continue;
      for (std::int32_t first = 0; first < rows; first += rows_per_tile) body(AttentionTile{std::int32_t(s), first});
    }
  };
  each([&](const AttentionTile&) { count++; });
  if (count == 0) return {};
  const Staging::Block block = lane.staging().take(count * sizeof(AttentionTile));
  auto* to = reinterpret_cast<AttentionTile*>(block.host);
  each([&](const AttentionTile& tile) { *to++ = tile; });
  lane.send(block);
  return {reinterpret_cast<const AttentionTile*>(block.device), std::int32_t(count)};
}

}  // namespace splitwiser::cuda
