// Instances of the row kernels: embedding, norms, gathering.
#include "rows.hpp"

#include "rows.cuh"
#include "rows_norm.cuh"

namespace splitwiser::rows {

template <typename T>
__device__ __forceinline__ void embed_body(const EmbedParams& params) {
  using Bits = typename Stored<T>::Type;
  const StepView& step = params.step;
  const std::int64_t rows = smaller(step.counts[0], step.rows);
  const std::int64_t cols = params.cols;
  const Bits* tokens = static_cast<const Bits*>(params.tokens);
  const Bits* positions = static_cast<const Bits*>(params.positions);
  Bits* out = static_cast<Bits*>(params.out);
  const bool wide = (cols | params.token_stride | params.position_stride) % kEight == 0 && aligned_16(tokens) &&
                    aligned_16(positions) && aligned_16(out);
  each_item(rows, (cols + kEight - 1) / kEight, [&](std::int64_t row, std::int64_t item) {
    const std::int64_t col = item * kEight;
    const int valid = int(smaller(cols - col, kEight));
    Bits* to = out + row * cols + col;
    Eight x = tokens != nullptr
                  ? load_eight<T, true>(tokens + step.token_ids[row] * params.token_stride + col, valid, wide)
                  : load_eight<T, false>(to, valid, wide);
    if (positions != nullptr) {
      const std::int64_t position = std::int64_t(step.positions[row]) + params.position_offset;
      const Eight y = load_eight<T, true>(positions + position * params.position_stride + col, valid, wide);
#pragma unroll
      for (int i = 0; i < kEight; i++) x.v[i] = __fadd_rn(x.v[i], y.v[i]);
    }
    store_eight<T>(to, x, valid, wide);
  });
}

// Bits move as they are: one body for f16 and bf16.
template <typename Bits>
__device__ __forceinline__ void gather_body(const GatherParams& params) {
  constexpr int kPerVector = 16 / int(sizeof(Bits));
  const std::int64_t cols = params.cols;
  const Bits* x = static_cast<const Bits*>(params.x);
  Bits* out = static_cast<Bits*>(params.out);
  const std::int64_t count = params.real_count == nullptr ? params.count : smaller(params.count, *params.real_count);
  if (cols % kPerVector == 0 && aligned_16(x) && aligned_16(out)) {
    each_item(count, cols / kPerVector, [&](std::int64_t row, std::int64_t item) {
      const std::int64_t col = item * kPerVector;
      *reinterpret_cast<uint4*>(out + row * cols + col) = ptx::load_nc_16(x + params.rows[row] * cols + col);
    });
  } else {
    each_item(count, cols, [&](std::int64_t row, std::int64_t col) {
      out[row * cols + col] = x[params.rows[row] * cols + col];
    });
  }
}

}  // namespace splitwiser::rows

using namespace splitwiser;

SPLITWISER_KERNEL(embed_f32, EmbedParams, 128, 8) { rows::embed_body<float>(params); }
SPLITWISER_KERNEL(embed_f16, EmbedParams, 128, 8) { rows::embed_body<ptx::F16>(params); }
SPLITWISER_KERNEL(embed_bf16, EmbedParams, 128, 8) { rows::embed_body<ptx::BF16>(params); }

SPLITWISER_KERNEL(norm_f32, NormParams, 256, 2) { rows::norm_body<float>(params); }
SPLITWISER_KERNEL(norm_f16, NormParams, 256, 2) { rows::norm_body<ptx::F16>(params); }
SPLITWISER_KERNEL(norm_bf16, NormParams, 256, 2) { rows::norm_body<ptx::BF16>(params); }

SPLITWISER_KERNEL(gather_32, GatherParams, 128, 8) { rows::gather_body<std::uint32_t>(params); }
SPLITWISER_KERNEL(gather_16, GatherParams, 128, 8) { rows::gather_body<std::uint16_t>(params); }
