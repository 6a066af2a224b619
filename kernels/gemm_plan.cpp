// The host's side of gemm.hpp: parts of K, choice of kernel, grid. Nothing here changes an element's sum but gemm_parts.
#include <algorithm>
#include <stdexcept>
#include <string>

#include "gemm.hpp"
#include "residency.hpp"
#include "rows.hpp"

namespace splitwiser {
namespace {

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

constexpr int kMostParts = 8;
// Of m, n and k: kernels count rows, and the bytes of one, in 31 bits.
constexpr std::int64_t kMost = std::int64_t(1) << 28;
constexpr int kKilobyte = 1024;
constexpr int kSmallestBlockLimit = 99 * kKilobyte;  // sm_86, 89 and 120

// A kernel's tile (gemm_shapes.cuh), and what bounds how many blocks a multiprocessor holds.
struct Tile {
  const char* names[3];  // by DType
  int block_m, block_n, threads, shared_bytes, blocks_by_registers;
  double cost;           // of a tile, in 64 x 64 x K at the wide kernel's pace: small tiles read more for each product
};
constexpr Tile kWide{{nullptr, "gemm_wide_f16", "gemm_wide_bf16"}, 128, 128, 256, 66 * kKilobyte, 2, 4.0};
constexpr Tile kWideParts{{nullptr, "gemm_wide_parts_f16", "gemm_wide_parts_bf16"}, 128, 128, 256,
                          66 * kKilobyte, 1, 4.0};
constexpr Tile kMiddle{{"gemm_wide_f32", "gemm_middle_f16", "gemm_middle_bf16"}, 64, 64, 128,
                       64 * kKilobyte, 3, 1.35};
constexpr Tile kSlim{{nullptr, "gemm_narrow64_f16", "gemm_narrow64_bf16"}, 32, 64, 128, 72 * kKilobyte, 3, 0.9};

struct Narrow {
  const char* names[3];
  const char* normed[3];                // its tokens normalised first
  int block_n, blocks_by_registers[3];  // the latter by DType
};
constexpr Narrow kNarrow[] = {
    {{"gemm_narrow8_f32", "gemm_narrow8_f16", "gemm_narrow8_bf16"},
     {"gemm_normed8_f32", "gemm_normed8_f16", "gemm_normed8_bf16"},
     8,
     {2, 3, 3}},
    {{nullptr, "gemm_narrow16_f16", "gemm_narrow16_bf16"},
     {nullptr, "gemm_normed16_f16", "gemm_normed16_bf16"},
     16,
     {0, 2, 2}},
    {{nullptr, "gemm_narrow32_f16", "gemm_narrow32_bf16"},
     {nullptr, "gemm_normed32_f16", "gemm_normed32_bf16"},
     32,
     {0, 2, 2}},
};
constexpr int kNarrowThreads = 256;
constexpr int kNarrowRows = 128;  // over all parts: a block has kNarrowRows / parts rows of the weight
constexpr std::int64_t kMostNormed = 8 * kNarrowThreads;  // a thread has eight elements of a row at most

// One block for each place on the lane's multiprocessors, or for each tile where those are fewer.
std::uint32_t grid_for(std::int64_t tiles, int shared_bytes, int blocks_by_registers, const DeviceShape& device) {
  const int blocks = blocks_per_sm(device, shared_bytes, blocks_by_registers);
  return static_cast<std::uint32_t>(std::min<std::int64_t>(tiles, std::int64_t(std::max(1, device.sms)) * blocks));
}

std::int64_t tiles_of(const Tile& tile, const GemmParams& params) {
  return ceil_div(params.m, tile.block_m) * ceil_div(params.n, tile.block_n);
}

// The tile of least predicted time: turns of the device's multiprocessors times a tile's cost.
const Tile& choose_tile(const GemmParams& params, const DeviceShape& device) {
  if (params.dtype == DType::f32) return kMiddle;
  const Tile* best = nullptr;
  double least = 0;
  for (const Tile* tile : {params.parts == 1 ? &kWide : &kWideParts, &kMiddle, &kSlim}) {
    const double time = double(ceil_div(tiles_of(*tile, params), std::max(1, device.sms))) * tile->cost;
    if (best == nullptr || time < least) best = tile, least = time;
  }
  return *best;
}

bool on_16_bytes(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0; }

const Narrow* find_narrow(const GemmParams& params) {
  for (const Narrow& narrow : kNarrow) {
    if (params.n <= narrow.block_n && narrow.names[std::size_t(params.dtype)] != nullptr) return &narrow;
  }
  return nullptr;
}

int block_limit(const DeviceShape& device) { return std::min(device.shared_bytes_per_block, kSmallestBlockLimit); }

// Of all tokens, and two numbers for each.
int normed_bytes(const Narrow& narrow, const GemmParams& params) {
  const std::int64_t padded = ceil_div(params.k, kGemmKAlign) * kGemmKAlign;
  return int(narrow.block_n * (padded * std::int64_t(bytes_of(params.dtype)) + 8));
}

// A narrow kernel's shared memory: stages of weights and tokens, over which the sums of all parts lie after the last step;
// then the tokens, if it normalises them.
struct NarrowMemory {
  int stages, tokens_at, bytes;
};
NarrowMemory narrow_memory(const Narrow& narrow, const GemmParams& params, const DeviceShape& device) {
  const bool normed = params.norm.weight != nullptr;
  const int tokens = normed ? normed_bytes(narrow, params) : 0;
  const int stage_bytes = (kNarrowRows + (normed ? 0 : params.parts * narrow.block_n)) * 128;
  const std::int64_t units = ceil_div(ceil_div(params.k, kGemmKAlign), params.parts);  // of the longest part
  const std::int64_t steps = units * kGemmKAlign * std::int64_t(bytes_of(params.dtype)) / 128;
  // At most 4 stages, so that more than one block fits a multiprocessor of the large devices; 2 fit in 99 KB always.
  const int room = block_limit(device) - tokens;
  const int stages = int(std::clamp<std::int64_t>(std::min<std::int64_t>(steps, room / stage_bytes), 1, 4));
  const int sums_bytes = params.parts * narrow.block_n * (kNarrowRows / params.parts + 4) * 4;
  const int tokens_at = std::max(stages * stage_bytes, sums_bytes);
  return {stages, tokens_at, tokens_at + tokens};
}

void check(const GemmParams& params) {
  const int per_16_bytes = int(16 / bytes_of(params.dtype));
  const auto fail = [](const std::string& what) { throw std::invalid_argument("plan_gemm: " + what); };
  if (params.m < 1 || params.n < 0 || params.k < 1) {
    fail("expected m >= 1, n >= 0, k >= 1, came " + std::to_string(params.m) + ", " + std::to_string(params.n) + ", " +
         std::to_string(params.k));
  }
  if (std::max({params.m, params.n, params.k}) > kMost) {
    fail("expected m, n and k up to " + std::to_string(kMost) + ", came " + std::to_string(params.m) + ", " +
         std::to_string(params.n) + ", " + std::to_string(params.k));
  }
  if (params.k % per_16_bytes != 0) {
    fail("rows of x must be multiples of 16 bytes, came k = " + std::to_string(params.k) + " of " + name_of(params.dtype));
  }
  if (params.k_stride % kGemmKAlign != 0 || params.k_stride < params.k) {
    fail("expected a k_stride that is a multiple of " + std::to_string(kGemmKAlign) + " and at least k = " +
         std::to_string(params.k) + ", came " + std::to_string(params.k_stride));
  }
  if (params.gated && params.m % 16 != 0) {
    fail("a gated weight has blocks of 16 rows, came m = " + std::to_string(params.m));
  }
  if (params.out_dtype != params.dtype && params.out_dtype != DType::f32) {
    fail(std::string("expected an output in f32 or ") + name_of(params.dtype) + ", came " + name_of(params.out_dtype));
  }
}

}  // namespace

// A decode step has one block for each 128 / parts rows of the weight, and the device's memory is only fast when about
// all of its 100 to 150 multiprocessors read: parts double until there are 128 such blocks (or a part would be shorter
// than 64).
// So 768 .. 3072 rows (OPT-125M) have 8 parts and 48 .. 192 blocks, 4096 rows 4, 8192 .. 14336 rows 2, 16384 and more
// (vocabularies, gate and up together) one. Fewer parts are better for prompts: with one, the wide kernel needs no second
// set of sums and two of its blocks fit a multiprocessor. Element type and architecture have not mattered so far.
int gemm_parts(std::int64_t m, std::int64_t k, DType) {
  constexpr std::int64_t kBlocksWanted = 128;
  const std::int64_t units = ceil_div(k, kGemmKAlign);
  int parts = 1;
  while (parts < kMostParts && 2 * parts <= units && ceil_div(m, kNarrowRows) * parts < kBlocksWanted) parts *= 2;
  return parts;
}

bool gemm_normalizes(const GemmParams& params, const DeviceShape& device) {
  const Narrow* narrow = find_narrow(params);
  if (narrow == nullptr || params.k % 8 != 0 || params.k > kMostNormed) return false;
  if (!on_16_bytes(params.norm.weight) || !on_16_bytes(params.norm.bias)) return false;
  return normed_bytes(*narrow, params) + 2 * kNarrowRows * 128 <= block_limit(device);
}

LaunchPlan plan_gemm(GemmParams& params, const DeviceShape& device) {
  check(params);
  params.parts = gemm_parts(params.m, params.k, params.dtype);
  params.stages = 0;
  if (params.n == 0) return {};
  const bool normed = params.norm.weight != nullptr;
  if (normed && !gemm_normalizes(params, device)) {
    throw std::invalid_argument("plan_gemm: this shape needs a norm kernel of its own, see gemm_normalizes");
  }
  const auto type = std::size_t(params.dtype);
  if (const Narrow* narrow = find_narrow(params); narrow != nullptr) {
    const NarrowMemory memory = narrow_memory(*narrow, params, device);
    params.stages = memory.stages;
    params.norm.place = memory.tokens_at;
    params.norm.warps = std::int32_t(norm_threads(params.k) / 32);
    const std::int64_t tiles = ceil_div(params.m, kNarrowRows / params.parts);
    return {normed ? narrow->normed[type] : narrow->names[type],
            grid_for(tiles, memory.bytes, narrow->blocks_by_registers[type], device), kNarrowThreads,
            std::uint32_t(memory.bytes)};
  }
  const Tile& tile = choose_tile(params, device);
  return {tile.names[type], grid_for(tiles_of(tile, params), tile.shared_bytes, tile.blocks_by_registers, device),
          std::uint32_t(tile.threads), std::uint32_t(tile.shared_bytes)};
}

}  // namespace splitwiser
