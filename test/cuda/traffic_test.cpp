// Traffic of the kernels that do the work: matrices and attention. Bounds: traffic.cpp. Row kernels: traffic_rows_test.cpp.
#include "traffic.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "attention.hpp"
#include "attention_shape.hpp"
#include "check.hpp"
#include "gemm.hpp"
#include "harness.hpp"

namespace splitwiser {
namespace {

using namespace cuda_test;

std::int64_t up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
bool begins(const std::string& text, const char* with) { return text.rfind(with, 0) == 0; }

// ---- matrices ---------------------------------------------------------------------------------------

struct GemmTile {
  std::int64_t m, n, threads;
};

// As NOTES.md has them.
GemmTile tile_of(const std::string& kernel, const GemmParams& params) {
  if (begins(kernel, "gemm_narrow64")) return {32, 64, 128};
  for (const std::string narrow : {"gemm_narrow", "gemm_normed"}) {
    if (begins(kernel, narrow.c_str())) return {128 / params.parts, std::atoi(kernel.c_str() + narrow.size()), 256};
  }
  if (begins(kernel, "gemm_middle") || kernel == "gemm_wide_f32") return {64, 64, 128};
  return {128, 128, 256};
}

Traffic gemm_traffic(const LaunchPlan& plan, const GemmParams& params) {
  const std::string kernel = plan.kernel;
  const auto bytes = std::int64_t(bytes_of(params.dtype)), out_bytes = std::int64_t(bytes_of(params.out_dtype));
  const auto [tile_m, tile_n, threads] = tile_of(kernel, params);
  const std::int64_t m_tiles = up(params.m, tile_m), n_tiles = up(params.n, tile_n);
  const std::int64_t weights = params.m * params.k * bytes;
  const std::int64_t stored = params.n * params.m * out_bytes;
  const std::int64_t bias = params.bias == nullptr ? 0 : params.m * 4;
  const std::int64_t residual = params.residual == nullptr ? 0 : stored;
  // A block that normalises the tokens has them, and the norm's weight and bias, once for all of its tiles.
  const bool normed = params.norm.weight != nullptr;
  const std::int64_t norm = normed ? 2 * params.k * 4 : 0;
  Traffic need;
  need.kernel = kernel;
  need.compulsory = double(weights + params.n * params.k * bytes + bias + residual + stored + norm);
  need.copied = std::uint64_t(m_tiles * tile_m * n_tiles * params.k * bytes +
                              (normed ? plan.grid : m_tiles) * params.n * params.k * bytes);
  // A thread keeps the biases of its 8 rows for a tile's tokens.
  std::int64_t biases = 0;
  for (std::int64_t first = 0; first < params.n; first += tile_n) {
    biases += m_tiles * std::min(threads, std::min(tile_n, params.n - first) * tile_m / 8) * 32;
  }
  need.requested = double(need.copied) + double((bias == 0 ? 0 : biases) + residual + stored + plan.grid * norm);
  const bool tensor = params.dtype != DType::f32;
  need.mma = tensor ? std::uint64_t(m_tiles * (tile_m / 16) * n_tiles * (tile_n / 8) * up(params.k, 16)) : 0;
  if (n_tiles == 1) need.streamed = std::uint64_t(weights);
  return need;
}

struct GemmCase {
  std::int64_t m, k, n;
  int sms;
  DType type;
  bool f32_out = false;
  bool normed = false;
};

// m and k are multiples of the packing, so that every byte that is read is a weight.
void run_gemm(const GemmCase& given, std::set<std::string>& seen) {
  const DType out_type = given.f32_out ? DType::f32 : given.type;
  const auto count = [](std::int64_t rows, std::int64_t cols, DType type) { return std::size_t(rows * cols) * bytes_of(type); };
  GemmParams params{};
  params.m = given.m, params.k = params.k_stride = given.k, params.n = given.n;
  params.dtype = given.type, params.out_dtype = out_type;
  const auto norm_weight = filled<float>(std::size_t(given.k), 0), norm_bias = filled<float>(std::size_t(given.k), 0);
  if (given.normed) params.norm.weight = norm_weight.data(), params.norm.bias = norm_bias.data();
  if (given.normed && !gemm_normalizes(params, shape(given.sms))) return;
  const LaunchPlan plan = plan_gemm(params, shape(given.sms));
  REQUIRE(plan.kernel != nullptr);
  if (!seen.insert(plan.kernel).second) return;
  const auto weight = filled<std::byte>(count(given.m, given.k, given.type), 0);
  const auto x = filled<std::byte>(count(given.n, given.k, given.type), 0);
  const auto bias = filled<float>(std::size_t(given.m), 0);
  const auto residual = filled<std::byte>(count(given.n, given.m, out_type), 0);
  const DeviceArray<std::byte> out(count(given.n, given.m, out_type));
  params.weight = weight.data(), params.x = x.data(), params.out = out.data();
  params.bias = bias.data(), params.residual = residual.data();
  params.activation = Activation::relu;
  check_traffic("gemm " + std::to_string(given.n) + " x " + std::to_string(given.k) + " -> " + std::to_string(given.m) + ", " +
                    std::to_string(params.parts) + " parts",
                gemm_traffic(plan, params), [&] { launch(plan, params); });
}

// Tiles are chosen by SMs, tokens and the weight's shape: a few of each reach every kernel.
std::set<std::string> run_gemms(DType type) {
  std::set<std::string> seen;
  for (const auto& [m, k] : {std::pair<std::int64_t, std::int64_t>{256, 512}, {256, 64}}) {
    for (const std::int64_t n : {1, 16, 32, 64, 128, 256}) {
      for (const int sms : {1, 4, 132}) run_gemm({m, k, n, sms, type}, seen);
      run_gemm({m, k, n, 1, type, false, true}, seen);
    }
  }
  return seen;
}

TEST("traffic: every matrix kernel in f16 reads what its tiling says, without bank conflicts") {
  const auto seen = run_gemms(DType::f16);
  for (const char* kernel : {"gemm_narrow8_f16", "gemm_narrow16_f16", "gemm_narrow32_f16", "gemm_narrow64_f16", "gemm_middle_f16",
                             "gemm_wide_f16", "gemm_wide_parts_f16", "gemm_normed8_f16", "gemm_normed16_f16", "gemm_normed32_f16"}) {
    check::record(seen.contains(kernel), __FILE__, __LINE__, std::string("no shape of this test runs ") + kernel);
  }
}
TEST("traffic: every matrix kernel in bf16 reads what its tiling says, without bank conflicts") {
  CHECK_EQ(run_gemms(DType::bf16).size(), 10);
}
TEST("traffic: every matrix kernel in f32 reads what its tiling says") { CHECK_EQ(run_gemms(DType::f32).size(), 3); }
TEST("traffic: logits in f32 from weights of 16 bits") {
  std::set<std::string> seen;
  run_gemm({1280, 256, 8, 132, DType::f16, true}, seen);
}

// ---- attention ----------------------------------------------------------------------------------------

constexpr int kPage = 16;

struct AttentionCase {
  DType type;
  int heads, kv_heads, head_dim;
  std::vector<std::int32_t> rows, lengths;  // by segment; lengths include the rows
};

struct AttentionTiling {
  std::int64_t prefill_rows, prefill_threads;
  std::int64_t decode_units, decode_threads;  // of a block at once, of a unit
  std::int64_t prefill_mma, decode_mma;       // of 16 rows and a leaf of 64 keys
};

template <int Bytes, int Dim, bool Block = false>
AttentionTiling tiling() {
  using Shape = AttentionShape<Bytes, Dim>;
  using Decode = DecodeShape<Shape, Block>;
  // Scores and outputs take as many each; warps that share rows (kDimParts) have the outputs' columns divided between them,
  // and each its own scores, but for a block's, which divide these too.
  constexpr std::int64_t kHalf = Bytes == 2 ? (kLeafKeys / 8) * (Dim / 16) : 0;
  return {Shape::kPrefillRows, Shape::kPrefillThreads, Decode::kUnits, Decode::kUnitThreads, (Shape::kDimParts + 1) * kHalf,
          (Block ? 2 : Decode::kDimParts + 1) * kHalf};
}

AttentionTiling tiling_of(const std::string& kernel, DType type, int head_dim) {
  const bool half = bytes_of(type) == 2, block = begins(kernel, "attention_decode_block");
  switch (head_dim) {
    case 64: return block ? tiling<2, 64, true>() : half ? tiling<2, 64>() : tiling<4, 64>();
    case 80: return half ? tiling<2, 80>() : tiling<4, 80>();
    case 96: return half ? tiling<2, 96>() : tiling<4, 96>();
    case 128: return block ? tiling<2, 128, true>() : half ? tiling<2, 128>() : tiling<4, 128>();
    default: return half ? tiling<2, 256>() : tiling<4, 256>();
  }
}

// The arrays of one step, with pages of their own for each segment.
struct AttentionRig {
  AttentionCase given;
  std::vector<std::int32_t> row_indptr{0}, page_indptr{0}, positions, segments;
  DeviceArray<std::int32_t> row_indptr_at, page_indptr_at, pages_at, lengths_at, positions_at, segments_at, counts_at;
  DeviceArray<std::byte> pool, qkv, out, partials;
  DeviceArray<std::uint32_t> arrivals;
  DeviceArray<AttentionTile> tiles_at;
  std::vector<AttentionTile> tiles;
  AttentionParams params{};

  explicit AttentionRig(const AttentionCase& with) : given(with) {
    for (std::size_t s = 0; s < given.rows.size(); s++) {
      row_indptr.push_back(row_indptr.back() + given.rows[s]);
      page_indptr.push_back(page_indptr.back() + std::int32_t(up(given.lengths[s], kPage)));
      for (int r = 0; r < given.rows[s]; r++) {
        positions.push_back(given.lengths[s] - given.rows[s] + r);
        segments.push_back(std::int32_t(s));
      }
    }
    std::vector<std::int32_t> pages(std::size_t(page_indptr.back()));
    std::iota(pages.begin(), pages.end(), 0);
    const std::size_t bytes = bytes_of(given.type);
    const std::int64_t head_stride = std::int64_t(kPage) * given.head_dim;
    const std::size_t kv_elements = pages.size() * std::size_t(given.kv_heads * head_stride);
    pool = filled<std::byte>(2 * kv_elements * bytes, 0);
    const std::int64_t cols = std::int64_t(given.heads + 2 * given.kv_heads) * given.head_dim;
    qkv = filled<std::byte>(positions.size() * std::size_t(cols) * bytes, 0);
    out = DeviceArray<std::byte>(positions.size() * std::size_t(given.heads * given.head_dim) * bytes);
    row_indptr_at = upload<std::int32_t>(row_indptr), page_indptr_at = upload<std::int32_t>(page_indptr);
    pages_at = upload<std::int32_t>(pages), lengths_at = upload<std::int32_t>(given.lengths);
    positions_at = upload<std::int32_t>(positions), segments_at = upload<std::int32_t>(segments);
    counts_at = upload<std::int32_t>(std::vector<std::int32_t>{std::int32_t(positions.size()), std::int32_t(given.rows.size())});
    params.step = {segments_at.data(), positions_at.data(), segments_at.data(), row_indptr_at.data(), page_indptr_at.data(),
                   pages_at.data(), lengths_at.data(), counts_at.data(), std::int32_t(positions.size()), std::int32_t(given.rows.size())};
    params.kv = {pool.data(), pool.data() + kv_elements * bytes, given.kv_heads * head_stride, head_stride, given.head_dim, kPage, given.type};
    params.qkv = qkv.data(), params.out = out.data(), params.qkv_cols = cols, params.dtype = given.type;
    params.heads = given.heads, params.kv_heads = given.kv_heads, params.head_dim = given.head_dim;
    params.scale = 0.125f;
  }

  [[nodiscard]] std::int64_t row_bytes() const { return given.head_dim * std::int64_t(bytes_of(given.type)); }
  [[nodiscard]] std::string name(const char* phase) const {
    return std::string(phase) + ", " + std::to_string(given.heads) + " heads on " + std::to_string(given.kv_heads) + " of " +
           std::to_string(given.head_dim);
  }

  // On so few multiprocessors that a block has several units, or on so many that each unit has a block.
  void decode(int sms) {
    for (const std::int32_t length : given.lengths) params.max_kv_length = std::max<std::int64_t>(params.max_kv_length, length);
    const LaunchPlan plan = plan_attention_decode(params, shape(sms));
    REQUIRE(plan.kernel != nullptr);
    const AttentionTiling tiling = tiling_of(plan.kernel, given.type, given.head_dim);
    const std::int64_t m_tiles = up(given.heads / given.kv_heads, kFragmentRows), units_of_split = given.kv_heads * m_tiles;
    const auto segments = double(given.rows.size());
    // A warp that looks for a unit asks for the number of segments and for the length and rows of 32 of them at most.
    const double search = double(tiling.decode_threads / 32) * (32 * 4 + 12 * segments);
    Traffic need;
    double queries = 0, folded = 0;
    for (const std::int32_t length : given.lengths) {
      const std::int64_t splits = up(length, kSplitKeys);
      need.streamed += std::uint64_t(2 * given.kv_heads * length * row_bytes());
      need.mma += std::uint64_t(units_of_split * up(length, kLeafKeys) * tiling.decode_mma);
      queries += double(given.heads * splits * row_bytes());
      // Then each thread for the row, its pages' place and a page for each leaf.
      need.arrays += double(units_of_split * splits) * (search + double(tiling.decode_threads) * 8);
      need.arrays += double(units_of_split * up(length, kLeafKeys) * tiling.decode_threads * 4);
      if (splits == 1) continue;
      const double written = double(given.heads * splits * (given.head_dim + kPartialExtra) * 4);
      // The fold asks for four columns, m and l at a time, of two splits together; 16 lanes ask for the same m and l: a sector.
      const double loads = double(given.heads * up(splits, 2) * 2);
      folded += written + loads * double(given.head_dim / 4 * 32);
      need.partials += written + loads * double(given.head_dim * 4 + 32);
      need.compulsory += 2 * written;
    }
    partials = DeviceArray<std::byte>(std::size_t(decode_partial_floats(params)) * 4);
    arrivals = filled<std::uint32_t>(std::size_t(decode_arrivals(params)), 0);
    params.partials = reinterpret_cast<float*>(partials.data()), params.arrivals = arrivals.data();
    need.kernel = plan.kernel;
    need.copied = need.streamed;
    need.arrays += double(plan.grid * tiling.decode_units) * search;  // each ends with a search that finds nothing
    const double rows = segments * double(given.heads * row_bytes());
    need.compulsory += double(need.streamed) + 2 * rows;
    need.requested = double(need.copied) + queries + rows + folded;
    check_traffic(name("decode"), need, [&] { launch(plan, params); });
  }

  void prefill() {
    const AttentionTiling tiling = tiling_of("", given.type, given.head_dim);
    const int group = given.heads / given.kv_heads;
    const int tile_rows = prefill_tile_rows(given.heads, given.kv_heads, given.head_dim, given.type);
    Traffic need;
    for (std::size_t s = 0; s < given.rows.size(); s++) {
      need.compulsory += double(2 * given.kv_heads * given.lengths[s] * row_bytes());
      for (std::int32_t first = 0; first < given.rows[s]; first += tile_rows) {
        tiles.push_back({std::int32_t(s), first});
        const std::int64_t tokens = std::min(given.rows[s] - first, tile_rows);
        // Rows of a group are packed token by token: each block ends with its own last token's key.
        for (std::int64_t packed = 0; packed < tokens * group; packed += tiling.prefill_rows) {
          const std::int64_t last = std::min((packed + tiling.prefill_rows - 1) / group, tokens - 1);
          const std::int64_t end = given.lengths[s] - given.rows[s] + first + last + 1;
          need.copied += std::uint64_t(2 * given.kv_heads * end * row_bytes());
          need.mma += std::uint64_t(given.kv_heads * (tiling.prefill_rows / kFragmentRows) * up(end, kLeafKeys) * tiling.prefill_mma);
          // Each thread asks for the unit (tile, rows, length) before and after the walk, and for a page for each leaf.
          need.arrays += double(given.kv_heads * tiling.prefill_threads) * double(2 * 20 + 4 + 4 * up(end, kLeafKeys));
        }
      }
    }
    tiles_at = upload<AttentionTile>(tiles);
    params.tiles = tiles_at.data(), params.tile_count = std::int32_t(tiles.size());
    const LaunchPlan plan = plan_attention_prefill(params, shape());
    REQUIRE(plan.kernel != nullptr);
    need.kernel = plan.kernel;
    const double rows = double(positions.size()) * double(given.heads * row_bytes());
    need.compulsory += 2 * rows;
    need.requested = double(need.copied) + 2 * rows;
    check_traffic(name("prefill"), need, [&] { launch(plan, params); });
  }
};

constexpr int kHeadDims[] = {64, 80, 96, 128, 256};

TEST("traffic: decode attention reads each key and value once, and partials are at most 4 %") {
  for (const int dim : kHeadDims) {
    AttentionRig({DType::f16, 4, 4, dim, {1, 1}, {700, 300}}).decode(1);
    AttentionRig({DType::f16, 16, 2, dim, {1, 1}, {2048, 400}}).decode(1);
    if (dim == 64 || dim == 128) AttentionRig({DType::f16, 16, 2, dim, {1, 1}, {2048, 400}}).decode(132);
  }
  // Where the number of splits is odd, the fold asks for the last one again.
  AttentionRig({DType::bf16, 8, 1, 64, {1}, {2048}}).decode(1);
  AttentionRig({DType::bf16, 8, 1, 64, {1}, {1024}}).decode(132);
  AttentionRig({DType::f32, 4, 4, 64, {1}, {600}}).decode(1);
}

TEST("traffic: prefill attention reads keys and values once for each tile of rows, up to the tile's last key") {
  for (const int dim : kHeadDims) {
    AttentionRig({DType::f16, 2, 2, dim, {150, 64}, {150, 300}}).prefill();
    AttentionRig({DType::f16, 8, 2, dim, {70}, {330}}).prefill();
  }
  AttentionRig({DType::bf16, 2, 2, 64, {100}, {100}}).prefill();
  AttentionRig({DType::f32, 2, 2, 64, {100}, {100}}).prefill();
}

}  // namespace
}  // namespace splitwiser
