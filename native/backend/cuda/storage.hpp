// What the CUDA backend keeps on the device: weights, vectors, buffers, the KV pool.
#pragma once

#include <memory>
#include <span>

#include "attention.hpp"
#include "backend/backend.hpp"
#include "backend/cuda/memory.hpp"
#include "backend/cuda/upload.hpp"

namespace splitwiser::cuda {

// All weights of a backend, in one mapping. Shared by what lies in it.
struct WeightStore {
  explicit WeightStore(std::shared_ptr<Context> context);
  Arena arena;
  Uploader uploader;
};

// Rows of `stride` elements of the stored type, both dimensions padded with zeros as gemm.hpp asks.
class CudaMatrix final : public Matrix {
 public:
  // Throws unsupported_model where a row is not a whole number of 8 elements.
  CudaMatrix(std::shared_ptr<WeightStore> store, std::span<const HostMatrix> sources, DType storage);
  [[nodiscard]] std::int64_t rows() const override { return rows_; }
  [[nodiscard]] std::int64_t cols() const override { return cols_; }
  [[nodiscard]] DType dtype() const override { return dtype_; }
  [[nodiscard]] std::size_t bytes() const override { return bytes_; }

  [[nodiscard]] const std::byte* data() const { return data_; }
  [[nodiscard]] std::int64_t stride() const { return stride_; }

 private:
  std::shared_ptr<WeightStore> store_;
  std::int64_t rows_ = 0;
  std::int64_t cols_ = 0;
  std::int64_t stride_ = 0;
  DType dtype_;
  std::size_t bytes_ = 0;
  std::byte* data_ = nullptr;
};

class CudaVector final : public Vector {
 public:
  CudaVector(std::shared_ptr<WeightStore> store, std::span<const HostMatrix> sources);
  [[nodiscard]] std::int64_t size() const override { return size_; }
  // Padded with zeros to a multiple of kGemmMAlign.
  [[nodiscard]] const float* data() const { return reinterpret_cast<const float*>(data_); }

 private:
  std::shared_ptr<WeightStore> store_;
  std::int64_t size_ = 0;
  std::byte* data_ = nullptr;
};

class CudaBuffer final : public Buffer {
 public:
  CudaBuffer(std::shared_ptr<const Device> device, std::size_t bytes)
      : bytes_(bytes), memory_(map_memory(std::move(device), bytes, "the lanes' working memory")) {}
  [[nodiscard]] void* data() override { return memory_.data(); }
  [[nodiscard]] std::size_t bytes() const override { return bytes_; }

 private:
  std::size_t bytes_;
  DeviceMemory memory_;
};

// One mapping: [layers][pages][K heads | V heads][page_size][padded_head_dim].
class CudaKvPool final : public KvPool {
 public:
  // Throws unsupported_model (head dim), invalid_option (page size), out_of_memory.
  CudaKvPool(WeightStore& store, std::shared_ptr<const Device> device, const KvShape& shape);
  [[nodiscard]] const KvShape& shape() const override { return shape_; }
  [[nodiscard]] KvView layer(int index) const;
  [[nodiscard]] void* data() const { return memory_.data(); }
  [[nodiscard]] std::int64_t head_bytes() const { return head_elements_ * std::int64_t(bytes_of(shape_.dtype)); }
  [[nodiscard]] std::int64_t page_bytes() const { return 2 * shape_.kv_heads * head_bytes(); }
  [[nodiscard]] std::int64_t row_bytes() const { return std::int64_t(row_) * std::int64_t(bytes_of(shape_.dtype)); }
  [[nodiscard]] std::int64_t layer_bytes() const { return page_bytes() * shape_.pages; }

 private:
  KvShape shape_;
  int row_ = 0;
  std::int64_t head_elements_ = 0;
  DeviceMemory memory_;
};

}  // namespace splitwiser::cuda
