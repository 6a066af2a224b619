// What the CPU backend keeps: packed weights, vectors, buffers, the KV pool.
#pragma once

#include <span>

#include "backend/backend.hpp"
#include "backend/cpu/kernels.hpp"
#include "platform/memory.hpp"

namespace splitwiser::cpu {

// Weights in panels of kPanel outputs, [panels][cols][kPanel]; outputs after the last are zero.
class CpuMatrix final : public Matrix {
 public:
  // Packs the stacked rows of `sources` on up to `threads` threads.
  CpuMatrix(std::span<const HostMatrix> sources, DType storage, int threads);
  [[nodiscard]] std::int64_t rows() const override { return rows_; }
  [[nodiscard]] std::int64_t cols() const override { return cols_; }
  [[nodiscard]] DType dtype() const override { return dtype_; }
  [[nodiscard]] std::size_t bytes() const override { return memory_.bytes(); }

  [[nodiscard]] const std::byte* data() const { return memory_.data(); }
  [[nodiscard]] std::int64_t panels() const { return ceil_div(rows_, kPanel); }
  // to[k] (+)= row[k], widened.
  void read_row(std::int64_t row, bool add, std::span<float> to) const;

 private:
  std::int64_t rows_ = 0;
  std::int64_t cols_ = 0;
  DType dtype_;
  MemoryRegion memory_;
};

class CpuVector final : public Vector {
 public:
  explicit CpuVector(std::span<const HostMatrix> sources);
  [[nodiscard]] std::int64_t size() const override { return size_; }
  // Padded with zeros to a multiple of kPanel.
  [[nodiscard]] const float* data() const { return reinterpret_cast<const float*>(memory_.data()); }

 private:
  std::int64_t size_ = 0;
  MemoryRegion memory_;
};

class CpuBuffer final : public Buffer {
 public:
  explicit CpuBuffer(std::size_t bytes) : memory_(bytes, "a buffer") {}
  [[nodiscard]] void* data() override { return memory_.data(); }
  [[nodiscard]] std::size_t bytes() const override { return memory_.bytes(); }

 private:
  MemoryRegion memory_;
};

// [layer][page][kv head]{ keys [head_dim][page_size], values [page_size][padded_dim] }
class CpuKvPool final : public KvPool {
 public:
  explicit CpuKvPool(const KvShape& shape);
  [[nodiscard]] const KvShape& shape() const override { return shape_; }
  [[nodiscard]] KvLayer layer(int index) const;
  [[nodiscard]] std::span<std::byte> memory() const { return {memory_.data(), memory_.bytes()}; }

 private:
  KvShape shape_;
  KvLayer first_{};
  MemoryRegion memory_;
};

}  // namespace splitwiser::cpu
