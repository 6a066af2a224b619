// The ops of one CPU lane: each cuts its work into chunks for the lane's threads.
#pragma once

#include <vector>

#include "backend/backend.hpp"
#include "backend/cpu/kernels.hpp"
#include "backend/cpu/storage.hpp"
#include "backend/cpu/team.hpp"
#include "sampling_host.hpp"

namespace splitwiser::cpu {

class CpuOps final : public Ops {
 public:
  CpuOps(Team& team, Phase phase, const CpuKernels& kernels) : team_(team), phase_(phase), kernels_(kernels) {}

  void embed(const StepInput& in, const Matrix& tokens, const Matrix* positions, int position_offset,
             Tensor out) override;
  void add_positions(const StepInput& in, const Matrix& positions, int position_offset, Tensor out) override;
  void linear(Tensor x, const Matrix& w, const Epilogue& epilogue, Tensor out) override;
  void layer_norm(Tensor x, const LayerNorm& norm, Tensor out) override;
  void write_kv(const StepInput& in, KvPool& pool, int layer, const AttentionSpec& spec, Tensor qkv) override;
  void attention(const StepInput& in, const KvPool& pool, int layer, const AttentionSpec& spec, Tensor qkv,
                 Tensor out) override;
  void gather_rows(Tensor x, std::span<const std::int32_t> rows, Tensor out) override;
  void copy_pages(KvPool& pool, std::span<const PageCopy> copies) override;
  void sample(Tensor logits, std::span<const SampleRow> rows, std::span<SampleResult> results) override;
  void read(Tensor from, std::span<std::byte> to) override;

 private:
  struct AttentionItem {
    std::size_t segment;
    AttentionTask task;
  };

  const float* pack(Tensor x, Tiling tiling, std::int64_t padded_cols);
  void plan_attention(const StepInput& in, const AttentionSpec& spec, int padded_dim);
  void add_items(std::size_t segment, const AttentionSpec& spec, std::int64_t rows, std::int64_t block);

  Team& team_;
  Phase phase_;
  const CpuKernels& kernels_;
  // Working memory of this lane alone; grows to what its largest step needs.
  MemoryRegion packed_;
  MemoryRegion partials_;
  std::vector<AttentionArgs> segments_;
  std::vector<AttentionItem> items_;
  std::vector<AttentionItem> split_items_;
  std::vector<SampleScratch> sample_scratch_;
};

}  // namespace splitwiser::cpu
