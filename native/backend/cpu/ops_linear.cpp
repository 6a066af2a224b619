// How a linear is cut into tasks.
#include <algorithm>

#include "backend/cpu/ops.hpp"
#include "support/error.hpp"

namespace splitwiser::cpu {
namespace {

// A task lasts some 100 us: long against claiming it, short against the wait of a lane whose core is helping.
constexpr std::int64_t kTaskMacs = 8'000'000;
constexpr std::int64_t kTaskBytes = 1 << 20;  // of weights that are streamed
constexpr std::int64_t kTasksPerThread = 4;
constexpr std::int64_t kBlockRows = 96;       // x [96, kDepthBlock] stays in the L2 cache while panels pass
constexpr std::int64_t kPackElements = 32'768;

// One tile: weights are read once, four panels side by side.
std::int64_t panels_of_streaming_task(const CpuMatrix& w, int threads) {
  constexpr std::int64_t kAtOnce = 4;
  const std::int64_t panel_bytes = w.cols() * kPanel * std::int64_t(bytes_of(w.dtype()));
  const std::int64_t fair = ceil_div(w.panels(), threads * kTasksPerThread);
  return round_up(std::clamp<std::int64_t>(fair, 1, std::max<std::int64_t>(1, kTaskBytes / panel_bytes)), kAtOnce);
}

std::int64_t panels_of_block_task(const CpuMatrix& w, std::int64_t rows, std::int64_t blocks, int threads) {
  const std::int64_t by_work = kTaskMacs / (rows * w.cols() * kPanel);
  const std::int64_t by_memory = kMaxLinearCells / rows;
  const std::int64_t fair = ceil_div(w.panels() * blocks, threads * kTasksPerThread);
  return std::max<std::int64_t>(1, std::min({by_work, by_memory, fair}));
}

}  // namespace

const float* CpuOps::pack(Tensor x, Tiling tiling, std::int64_t padded_cols) {
  const auto bytes = std::size_t(x.rows * padded_cols) * sizeof(float);
  if (packed_.bytes() < bytes) {
    packed_ = MemoryRegion();  // the old one goes first: both need not fit
    packed_ = MemoryRegion(bytes, "packed activations");
  }
  float* packed = reinterpret_cast<float*>(packed_.data());
  const float* from = static_cast<const float*>(x.data);
  const std::int64_t tiles_per_chunk = std::max<std::int64_t>(1, kPackElements / (kernels_.tile_rows * x.cols));
  team_.parallel(phase_, ceil_div(tiling.tiles, tiles_per_chunk), [&](std::int64_t chunk, float*) {
    const std::int64_t end = std::min(tiling.tiles, (chunk + 1) * tiles_per_chunk);
    for (std::int64_t t = chunk * tiles_per_chunk; t < end; ++t) {
      const std::int64_t begin = tiling.begin(t);
      kernels_.pack_rows(from + begin * x.cols, x.cols, x.cols, int(tiling.begin(t + 1) - begin),
                         packed + begin * padded_cols);
    }
  });
  return packed;
}

void CpuOps::linear(Tensor x, const Matrix& weights, const Epilogue& epilogue, Tensor out) {
  const auto& w = static_cast<const CpuMatrix&>(weights);
  const bool fits = x.cols == w.cols() && out.cols == w.rows() && x.rows <= out.rows &&
                    (epilogue.bias == nullptr || epilogue.bias->size() == w.rows()) &&
                    (epilogue.residual == nullptr ||
                     (epilogue.residual->cols == out.cols && epilogue.residual->rows >= x.rows));
  if (!fits) throw Error(ErrorCode::internal, "linear: the shapes of its tensors do not fit together");
  if (x.rows == 0) return;

  LinearArgs args{};
  args.tiling = tile_rows(x.rows, kernels_.tile_rows);
  args.cols = x.cols;
  args.padded_cols = round_up(x.cols, kernels_.group);
  // A single row lies as its packed tile would.
  args.x = x.rows == 1 ? static_cast<const float*>(x.data) : pack(x, args.tiling, args.padded_cols);
  args.outputs = w.rows();
  args.weights = w.data();
  args.dtype = w.dtype();
  args.bias = epilogue.bias == nullptr ? nullptr : static_cast<const CpuVector*>(epilogue.bias)->data();
  args.activation = epilogue.activation;
  if (epilogue.residual != nullptr) {
    args.residual = static_cast<const float*>(epilogue.residual->data);
    args.residual_stride = epilogue.residual->cols;
  }
  args.out = static_cast<float*>(out.data);
  args.out_stride = out.cols;

  const std::int64_t tiles = args.tiling.tiles;
  const std::int64_t blocks = ceil_div(tiles, std::max<std::int64_t>(1, kBlockRows / kernels_.tile_rows));
  const std::int64_t block_rows = std::min(x.rows, ceil_div(tiles, blocks) * kernels_.tile_rows);
  const std::int64_t panels = tiles == 1 ? panels_of_streaming_task(w, team_.threads())
                                         : panels_of_block_task(w, block_rows, blocks, team_.threads());
  const std::int64_t groups = ceil_div(w.panels(), panels);
  // Neighbouring tasks share weights, so that these come from memory once.
  team_.parallel(phase_, groups * blocks, [&](std::int64_t chunk, float* scratch) {
    const std::int64_t block = chunk % blocks;
    const std::int64_t first = chunk / blocks * panels;
    const LinearTask task{tiles * block / blocks, tiles * (block + 1) / blocks, first,
                          std::min(first + panels, w.panels())};
    kernels_.linear(args, task, scratch);
  });
}

}  // namespace splitwiser::cpu
