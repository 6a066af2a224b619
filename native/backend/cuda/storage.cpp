#include "backend/cuda/storage.hpp"

#include <algorithm>
#include <cstring>
#include <string>

#include "gemm.hpp"
#include "support/error.hpp"
#include "support/half.hpp"

namespace splitwiser::cuda {
namespace {

constexpr std::int64_t kRowUnit = 8;  // elements: rows of 16 bit numbers begin on 16 bytes
constexpr int kPageUnit = 16;         // tokens

std::int64_t round_up(std::int64_t value, std::int64_t unit) { return (value + unit - 1) / unit * unit; }

// Sources may lie at any address.
template <typename From, typename To>
void convert(const std::byte* from, std::int64_t count, std::byte* to) {
  if constexpr (std::is_same_v<From, To>) {
    std::memcpy(to, from, std::size_t(count) * sizeof(From));
  } else {
    for (std::int64_t i = 0; i < count; i++) {
      From value;
      std::memcpy(&value, from + std::size_t(i) * sizeof(From), sizeof(From));
      const To narrowed = narrow<To>(widen(value));
      std::memcpy(to + std::size_t(i) * sizeof(To), &narrowed, sizeof(To));
    }
  }
}

void convert(const std::byte* from, DType from_type, std::int64_t count, std::byte* to, DType to_type) {
  with_type(from_type, [&](auto source) {
    with_type(to_type, [&](auto target) { convert<decltype(source), decltype(target)>(from, count, to); });
  });
}

[[noreturn]] void internal(const std::string& message) { throw Error(ErrorCode::internal, message); }

}  // namespace

WeightStore::WeightStore(std::shared_ptr<Context> context)
    : arena(context->device_pointer(), "the weights"), uploader(context) {}

CudaMatrix::CudaMatrix(std::shared_ptr<WeightStore> store, std::span<const HostMatrix> sources, DType storage)
    : store_(std::move(store)), dtype_(storage) {
  for (const HostMatrix& source : sources) {
    if (source.rows < 1 || source.cols < 1 || (cols_ != 0 && source.cols != cols_)) {
      internal("pack: expected matrices of one width stacked, got [" + std::to_string(source.rows) + ", " +
               std::to_string(source.cols) + "]");
    }
    rows_ += source.rows;
    cols_ = source.cols;
  }
  if (rows_ == 0) internal("pack: expected at least one matrix, got none");
  if (cols_ % kRowUnit != 0) {
    throw Error(ErrorCode::unsupported_model,
                "the CUDA backend needs widths that are multiples of 8, the model has a weight of " + std::to_string(cols_) +
                    " columns: use device \"cpu\"");
  }
  stride_ = round_up(cols_, kGemmKAlign);
  const std::int64_t padded_rows = round_up(rows_, kGemmMAlign);
  const std::size_t row_bytes = std::size_t(stride_) * bytes_of(storage);
  bytes_ = std::size_t(padded_rows) * row_bytes;
  data_ = store_->arena.allocate(bytes_);
  // Rows come in ascending order.
  std::size_t index = 0;
  std::int64_t first = 0;  // row of the stack where source `index` begins
  store_->uploader.rows(data_, rows_, row_bytes, [&](std::int64_t row, std::byte* to) {
    while (row >= first + sources[index].rows) first += sources[index++].rows;
    const HostMatrix& source = sources[index];
    const std::byte* from = source.data + std::size_t(row - first) * std::size_t(cols_) * bytes_of(source.dtype);
    convert(from, source.dtype, cols_, to, storage);
    std::memset(to + std::size_t(cols_) * bytes_of(storage), 0, std::size_t(stride_ - cols_) * bytes_of(storage));
  });
  store_->uploader.zero(data_ + std::size_t(rows_) * row_bytes, std::size_t(padded_rows - rows_) * row_bytes);
}

CudaVector::CudaVector(std::shared_ptr<WeightStore> store, std::span<const HostMatrix> sources) : store_(std::move(store)) {
  for (const HostMatrix& source : sources) {
    if (source.rows != 1) internal("upload: expected vectors (1 row), got " + std::to_string(source.rows) + " rows");
    size_ += source.cols;
  }
  const std::size_t bytes = std::size_t(round_up(size_, kGemmMAlign)) * sizeof(float);
  data_ = store_->arena.allocate(bytes);
  if (bytes == 0) return;
  store_->uploader.rows(data_, 1, bytes, [&](std::int64_t, std::byte* to) {
    std::memset(to, 0, bytes);
    for (const HostMatrix& source : sources) {
      convert(source.data, source.dtype, source.cols, to, DType::f32);
      to += std::size_t(source.cols) * sizeof(float);
    }
  });
}

CudaKvPool::CudaKvPool(WeightStore& store, std::shared_ptr<const Device> device, const KvShape& shape) : shape_(shape) {
  if (shape.layers < 1 || shape.kv_heads < 1 || shape.pages < 1 || shape.page_size < 1 || shape.head_dim < 1) {
    internal("KV pool: expected at least 1 layer, head, dimension, page and token of a page");
  }
  if (shape.page_size % kPageUnit != 0) {
    throw Error(ErrorCode::invalid_option, "pageSize: expected a multiple of " + std::to_string(kPageUnit) + ", got " +
                                               std::to_string(shape.page_size));
  }
  row_ = padded_head_dim(shape.head_dim);
  if (row_ == 0) {
    throw Error(ErrorCode::unsupported_model, "the CUDA backend supports heads of 1 to 256 dimensions, the model has " +
                                                  std::to_string(shape.head_dim) + ": use device \"cpu\"");
  }
  head_elements_ = std::int64_t(shape.page_size) * row_;
  const std::size_t bytes = std::size_t(shape.layers) * std::size_t(layer_bytes());
  memory_ = map_memory(std::move(device), bytes, "the KV cache");
  // Once: elements of a row beyond head_dim stay zero, and what is read before it is written is no NaN.
  store.uploader.zero(memory_.data(), bytes);
  store.uploader.finish();  // the pool may go again before any step
}

KvView CudaKvPool::layer(int index) const {
  KvView view{};
  std::byte* base = memory_.data() + std::int64_t(index) * layer_bytes();
  view.keys = base;
  view.values = base + std::int64_t(shape_.kv_heads) * head_bytes();
  view.page_stride = 2 * std::int64_t(shape_.kv_heads) * head_elements_;
  view.head_stride = head_elements_;
  view.row = row_;
  view.page_size = shape_.page_size;
  view.dtype = shape_.dtype;
  return view;
}

}  // namespace splitwiser::cuda
