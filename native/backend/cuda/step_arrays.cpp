#include "backend/cuda/step_arrays.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace splitwiser::cuda {
namespace {

constexpr std::size_t kArrayAlignment = 16;
// Sizes that a rounded step has: those of the narrow GEMM kernels, then whole tiles.
constexpr std::size_t kRowTile = 64;
constexpr std::size_t kPageEntries = 256;  // so that what lies behind the pages has few places
constexpr std::int32_t kNoRow = 1 << 30;   // beyond every segment's rows: a tile without work

std::size_t round_up(std::size_t count, std::size_t unit) { return (count + unit - 1) / unit * unit; }

std::size_t rounded_rows(std::size_t rows) {
  for (const std::size_t few : {8, 16, 32}) {
    if (rows <= few) return few;
  }
  return round_up(rows, kRowTile);
}

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

StepArrays send_step(LaneCore& lane, const StepInput& in, bool rounds) {
  check_step(in);
  const auto rows = std::size_t(in.rows());
  const auto segments = std::size_t(in.segments());
  StepArrays arrays;
  for (std::size_t s = 0; s < segments; s++) {
    const std::int64_t length = in.kv_length(std::int64_t(s));
    const std::int32_t own = in.row_indptr[s + 1] - in.row_indptr[s];
    if (own == 1) {
      arrays.max_decode_length = std::max(arrays.max_decode_length, length);
      arrays.decode_keys += double(length);
    } else {
      arrays.prefill_rows += own;
      arrays.prefill_pairs += double(own) * double(length);
    }
  }
  arrays.rounded = rounds && arrays.max_decode_length == 0;
  const std::size_t most_rows = arrays.rounded ? rounded_rows(rows) : rows;
  const std::size_t most_segments = arrays.rounded ? std::bit_ceil(segments) : segments;
  Layout layout;
  const std::size_t counts = layout.place(2);
  const std::size_t ids = layout.place(most_rows);
  const std::size_t positions = layout.place(most_rows);
  const std::size_t row_segments = layout.place(most_rows);
  const std::size_t row_indptr = layout.place(most_segments + 1);
  const std::size_t page_indptr = layout.place(most_segments + 1);
  const std::size_t kv_lengths = layout.place(most_segments);
  const std::size_t entries = in.page_indices.size();
  const std::size_t pages = layout.place(arrays.rounded ? round_up(entries, kPageEntries) : entries);
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
  for (std::size_t s = 0; s < segments; s++) {
    host(kv_lengths)[s] = std::int32_t(in.kv_length(std::int64_t(s)));
    std::fill(host(row_segments) + in.row_indptr[s], host(row_segments) + in.row_indptr[s + 1], std::int32_t(s));
  }
  lane.send(block);
  const auto device = [&](std::size_t at) { return reinterpret_cast<const std::int32_t*>(block.device + at); };
  arrays.view = {device(ids),   device(positions),  device(row_segments), device(row_indptr),
                 device(page_indptr), device(pages), device(kv_lengths), device(counts),
                 std::int32_t(most_rows), std::int32_t(most_segments)};
  return arrays;
}

TileList send_tiles(LaneCore& lane, const StepInput& in, const StepArrays& arrays, int rows_per_tile) {
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
  // Tiles of any segments whose rows add up to the view's: each may have one that is not full. Blocks begin at the list's end, so
  // that those without work stand in front.
  const auto tile = std::size_t(rows_per_tile);
  const std::size_t most = (std::size_t(arrays.view.rows) + tile - 1) / tile + std::size_t(arrays.view.segments) - 1;
  const std::size_t listed = arrays.rounded ? most : count;
  const Staging::Block block = lane.staging().take(listed * sizeof(AttentionTile));
  auto* to = reinterpret_cast<AttentionTile*>(block.host);
  to = std::fill_n(to, listed - count, AttentionTile{0, kNoRow});
  each([&](const AttentionTile& tile) { *to++ = tile; });
  lane.send(block);
  return {reinterpret_cast<const AttentionTile*>(block.device), std::int32_t(listed)};
}

}  // namespace splitwiser::cuda
