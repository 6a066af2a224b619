// Linear layers; included inside an instruction set's namespace.

inline void pack_rows(const float* x, std::int64_t stride, std::int64_t cols, int rows, float* packed) {
  const std::int64_t whole = cols / kGroup;
  for (int r = 0; r < rows; ++r) {
    const float* from = x + r * stride;
    float* to = packed + r * kGroup;
    for (std::int64_t g = 0; g < whole; ++g) {
      SPLITWISER_UNROLL
      for (int v = 0; v < kGroup; v += V::kWidth) V::load(from + g * kGroup + v).store(to + g * rows * kGroup + v);
    }
    for (std::int64_t k = whole * kGroup; k < cols; ++k) to[whole * rows * kGroup + k % kGroup] = from[k];
  }
}

// c[p][r] (+)= x w for `panels` panels; c: [panels][c_panel floats], rows of kPanel.
template <int Rows, int Panels, typename T>
inline void accumulate(const float* x, const T* w, std::int64_t panel_stride, std::int64_t depth, bool first, float* c,
                       std::int64_t c_panel) {
  V acc[Rows][Panels * kVectors];
  const T* panels[Panels];
  SPLITWISER_UNROLL
  for (int p = 0; p < Panels; ++p) {
    panels[p] = w + p * panel_stride;
    SPLITWISER_UNROLL
    for (int r = 0; r < Rows; ++r) {
      SPLITWISER_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        acc[r][p * kVectors + v] = first ? V::zero() : V::load(c + p * c_panel + r * kPanel + v * V::kWidth);
      }
    }
  }
  chain<Rows, Panels, T>(acc, x, Rows * kGroup, panels, kPanel, depth);
  SPLITWISER_UNROLL
  for (int p = 0; p < Panels; ++p) {
    SPLITWISER_UNROLL
    for (int r = 0; r < Rows; ++r) {
      SPLITWISER_UNROLL
      for (int v = 0; v < kVectors; ++v) acc[r][p * kVectors + v].store(c + p * c_panel + r * kPanel + v * V::kWidth);
    }
  }
}

template <typename T>
struct Accumulate {
  template <int Rows>
  struct ForRows {
    static void run(const float* x, const T* w, std::int64_t panel_stride, std::int64_t panels, std::int64_t depth,
                    bool first, float* c, std::int64_t c_panel) {
      constexpr int kAtOnce = panels_at_once(Rows);
      std::int64_t p = 0;
      for (; p + kAtOnce <= panels; p += kAtOnce) {
        accumulate<Rows, kAtOnce, T>(x, w + p * panel_stride, panel_stride, depth, first, c + p * c_panel, c_panel);
      }
      for (; p < panels; ++p) {
        accumulate<Rows, 1, T>(x, w + p * panel_stride, panel_stride, depth, first, c + p * c_panel, c_panel);
      }
    }
  };
};

SPLITWISER_INLINE V finish(V y, const float* bias, Activation activation) {
  if (bias != nullptr) y = V::add(y, V::load(bias));
  if (activation == Activation::relu) y = V::max(V::zero(), y);  // this order keeps NaN
  if (activation == Activation::gelu) y = gelu(y);
  if (activation == Activation::gelu_tanh) y = gelu_tanh(y);
  if (activation == Activation::silu) y = silu(y);
  return y;
}

// The epilogue of `rows` rows of one panel; c: [rows][kPanel].
inline void write_panel(const LinearArgs& args, std::int64_t panel, std::int64_t row, std::int64_t rows, const float* c) {
  const std::int64_t output = panel * kPanel;
  const std::int64_t valid = args.outputs - output < kPanel ? args.outputs - output : kPanel;
  const float* bias = args.bias == nullptr ? nullptr : args.bias + output;
  for (std::int64_t r = 0; r < rows; ++r) {
    float* out = args.out + (row + r) * args.out_stride + output;
    const float* residual =
        args.residual == nullptr ? nullptr : args.residual + (row + r) * args.residual_stride + output;
    float edge[kPanel];
    float* to = valid == kPanel ? out : edge;
    for (int v = 0; v < kPanel; v += V::kWidth) {
      V y = finish(V::load(c + r * kPanel + v), bias == nullptr ? nullptr : bias + v, args.activation);
      if (residual != nullptr && valid == kPanel) y = V::add(y, V::load(residual + v));
      y.store(to + v);
    }
    if (valid == kPanel) continue;
    for (std::int64_t o = 0; o < valid; ++o) out[o] = residual == nullptr ? edge[o] : edge[o] + residual[o];
  }
}

template <typename T>
void linear_of(const LinearArgs& args, const LinearTask& task, float* scratch) {
  const T* weights = reinterpret_cast<const T*>(args.weights);
  const std::int64_t panel_stride = args.cols * kPanel;
  const std::int64_t row_begin = args.tiling.begin(task.tile_begin);
  const std::int64_t rows = args.tiling.begin(task.tile_end) - row_begin;

  if (task.tile_end - task.tile_begin == 1) {
    // One tile: weights are read once, as a stream, and widened in registers.
    constexpr std::int64_t kAtOnce = 4;
    for (std::int64_t p = task.panel_begin; p < task.panel_end; p += kAtOnce) {
      const std::int64_t panels = task.panel_end - p < kAtOnce ? task.panel_end - p : kAtOnce;
      with_rows<Accumulate<T>::template ForRows, V::kTileRows>(static_cast<int>(rows), args.x + row_begin * args.padded_cols,
                                                 weights + p * panel_stride, panel_stride, panels, args.cols, true,
                                                 scratch, rows * kPanel);
      for (std::int64_t i = 0; i < panels; ++i) write_panel(args, p + i, row_begin, rows, scratch + i * rows * kPanel);
    }
    return;
  }

  // Several tiles: accumulators of the whole task in scratch, [panels][rows][kPanel]. A block of one or two
  // panels, kDepthBlock deep, stays in the L1 cache while all tiles pass. Where x of the task fits in
  // the L2 cache a panel is walked to its end first, so that weights stream; else x is cut in depth too.
  constexpr std::int64_t kAtOnce = panels_at_once(V::kTileRows);
  constexpr std::int64_t kL2Floats = (256 << 10) / 4;
  float* c = scratch;
  float* widened = scratch + kMaxLinearCells * kPanel;
  const std::int64_t depth = rows * args.cols <= kL2Floats ? args.cols : kDepthBlock;
  for (std::int64_t k_outer = 0; k_outer < args.cols; k_outer += depth) {
    const std::int64_t k_stop = k_outer + depth < args.cols ? k_outer + depth : args.cols;
    for (std::int64_t p = task.panel_begin; p < task.panel_end; p += kAtOnce) {
      const std::int64_t panels = task.panel_end - p < kAtOnce ? task.panel_end - p : kAtOnce;
      float* c_panel = c + (p - task.panel_begin) * rows * kPanel;
      for (std::int64_t k = k_outer; k < k_stop; k += kDepthBlock) {
        const std::int64_t count = k_stop - k < kDepthBlock ? k_stop - k : kDepthBlock;
        const T* w = weights + p * panel_stride + k * kPanel;
        const float* block = widened;
        std::int64_t block_stride = count * kPanel;
        if constexpr (kDTypeOf<T> == DType::f32) {
          block = w;
          block_stride = panel_stride;
        } else {
          for (std::int64_t i = 0; i < panels; ++i) {
            for (std::int64_t j = 0; j < count * kPanel; j += V::kWidth) {
              V::load(w + i * panel_stride + j).store(widened + i * block_stride + j);
            }
          }
        }
        for (std::int64_t t = task.tile_begin; t < task.tile_end; ++t) {
          const std::int64_t row = args.tiling.begin(t);
          const std::int64_t tile = args.tiling.begin(t + 1) - row;
          with_rows<Accumulate<float>::ForRows, V::kTileRows>(static_cast<int>(tile), args.x + row * args.padded_cols + k * tile,
                                                block, block_stride, panels, count, k == 0,
                                                c_panel + (row - row_begin) * kPanel, rows * kPanel);
        }
      }
      if (k_stop != args.cols) continue;
      for (std::int64_t i = 0; i < panels; ++i) write_panel(args, p + i, row_begin, rows, c_panel + i * rows * kPanel);
    }
  }
}

inline void linear(const LinearArgs& args, const LinearTask& task, float* scratch) {
  switch (args.dtype) {
    case DType::f32: return linear_of<float>(args, task, scratch);
    case DType::f16: return linear_of<F16>(args, task, scratch);
    case DType::bf16: return linear_of<BF16>(args, task, scratch);
  }
}
