// The ops of one CUDA lane: each launches kernels in the lane's stream and returns.
#pragma once

#include <optional>

#include "backend/backend.hpp"
#include "backend/cuda/cost_model.hpp"
#include "backend/cuda/graph_arrays.hpp"
#include "backend/cuda/lane_core.hpp"
#include "backend/cuda/step_arrays.hpp"
#include "backend/cuda/storage.hpp"
#include "gemm.hpp"
#include "sample.hpp"

namespace splitwiser::cuda {

// A row as its kernels see it, without lists and without logprobs.
[[nodiscard]] SampleSlot slot_of(const SampleRow& row);

class CudaOps final : public Ops {
 public:
  // `prompts`: of the lane for prompts, whose steps are issued in groups of launches (prompt_graphs.hpp).
  CudaOps(LaneCore& lane, bool prompts) : lane_(lane), costs_(lane.device()), prompts_(prompts) {}

  void embed(const StepInput& in, const Matrix& tokens, const Matrix* positions, int position_offset,
             Tensor out) override;
  void add_positions(const StepInput& in, const Matrix& positions, int position_offset, Tensor out) override;
  void linear(Tensor x, const Matrix& w, const Epilogue& epilogue, Tensor out) override;
  void layer_norm(Tensor x, const LayerNorm& norm, Tensor out) override;
  void norm_linear(Tensor x, const LayerNorm& norm, Tensor normed, const Matrix& w, const Epilogue& epilogue,
                   Tensor out) override;
  void write_kv(const StepInput& in, KvPool& pool, int layer, const AttentionSpec& spec, Tensor qkv) override;
  void attention(const StepInput& in, const KvPool& pool, int layer, const AttentionSpec& spec, Tensor qkv,
                 Tensor out) override;
  void gather_rows(Tensor x, std::span<const std::int32_t> rows, Tensor out) override;
  void copy_pages(KvPool& pool, std::span<const PageCopy> copies) override;
  void sample(Tensor logits, std::span<const SampleRow> rows, std::span<SampleResult> results) override;
  void read(Tensor from, std::span<std::byte> to) override;

  // A new step: what was sent for the one before is forgotten.
  void begin_step();
  // From here on ops take these arrays instead of a step's own; null: the step's own again.
  void use_graph(const GraphArrays* arrays) { graph_ = arrays; }
  [[nodiscard]] bool in_graph() const { return graph_ != nullptr; }
  // Steps from here on are decode() steps: token ids below 0 are taken from `drawn`, and sample() leaves the tokens there.
  // Nulls: no longer.
  void use_drawn(const DrawnRows& drawn) { drawn_ = drawn; }
  // Predicted seconds of what was issued since the last call.
  [[nodiscard]] double take_cost();

 private:
  [[nodiscard]] GemmParams gemm(Tensor x, const Matrix& w, const Epilogue& epilogue, Tensor out) const;
  void launch_gemm(GemmParams& params, const Matrix& w);
  [[nodiscard]] const StepArrays& arrays(const StepInput& in);
  // Bound and device's count of x's rows; null: the bound is the count.
  struct Rows {
    std::int64_t most;
    const std::int32_t* real;
  };
  [[nodiscard]] Rows rows_of(Tensor x) const;
  [[nodiscard]] const TileList& tiles(const StepInput& in, int rows_per_tile);
  void sample_graph(Tensor logits);
  void launch_sample(SampleParams& params);

  LaneCore& lane_;
  CostModel costs_;
  bool prompts_;
  double cost_ = 0;
  const GraphArrays* graph_ = nullptr;
  DrawnRows drawn_;
  // What was sent in this step, and of which input.
  std::optional<StepArrays> sent_;
  const std::int32_t* sent_ids_ = nullptr;
  std::size_t sent_rows_ = 0;
  std::optional<TileList> sent_tiles_;
  int tile_rows_ = 0;
};

}  // namespace splitwiser::cuda
