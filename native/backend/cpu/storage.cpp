#include "backend/cpu/storage.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "support/half.hpp"
#include "support/error.hpp"

namespace splitwiser::cpu {
namespace {

// Sources may lie at any address.
template <typename T>
float read_at(const std::byte* data, std::int64_t index) {
  T value;
  std::memcpy(&value, data + std::size_t(index) * sizeof(T), sizeof(T));
  return widen(value);
}

// Packs one source row into lane `lane` of a panel [cols][kPanel].
template <typename From, typename To>
void pack_row(const std::byte* row, std::int64_t cols, int lane, To* panel) {
  for (std::int64_t k = 0; k < cols; ++k) panel[k * kPanel + lane] = narrow<To>(read_at<From>(row, k));
}

// Calls body(i) for i in [0, count) on up to `threads` threads; body must not throw.
template <typename Body>
void spread(std::int64_t count, int threads, const Body& body) {
  std::atomic<std::int64_t> next{0};
  const auto work = [&] {
    for (std::int64_t i; (i = next.fetch_add(1)) < count;) body(i);
  };
  std::vector<std::thread> helpers;
  try {
    for (int t = 1; t < std::min<std::int64_t>(threads, count); ++t) helpers.emplace_back(work);
  } catch (const std::system_error&) {
    // Fewer helpers: the same work.
  }
  work();
  for (std::thread& helper : helpers) helper.join();
}

[[noreturn]] void internal(const std::string& message) { throw Error(ErrorCode::internal, message); }

}  // namespace

CpuMatrix::CpuMatrix(std::span<const HostMatrix> sources, DType storage, int threads) : dtype_(storage) {
  for (const HostMatrix& source : sources) {
    if (source.rows < 1 || source.cols < 1 || (cols_ != 0 && source.cols != cols_)) {
      internal("pack: expected matrices of one width stacked, got [" + std::to_string(source.rows) + ", " +
               std::to_string(source.cols) + "]");
    }
    rows_ += source.rows;
    cols_ = source.cols;
  }
  if (rows_ == 0) internal("pack: expected at least one matrix, got none");
  const std::size_t panel_bytes = std::size_t(cols_) * kPanel * bytes_of(storage);
  memory_ = MemoryRegion(std::size_t(panels()) * panel_bytes, "a weight matrix");

  const auto pack_panel = [&](std::int64_t panel) {
    std::byte* to = memory_.data() + std::size_t(panel) * panel_bytes;
    std::int64_t first = 0;  // row of the stack where the source begins
    for (const HostMatrix& source : sources) {
      const std::int64_t begin = std::max(panel * kPanel, first);
      const std::int64_t end = std::min((panel + 1) * kPanel, first + source.rows);
      const std::size_t row_bytes = std::size_t(cols_) * bytes_of(source.dtype);
      for (std::int64_t row = begin; row < end; ++row) {
        const std::byte* from = source.data + std::size_t(row - first) * row_bytes;
        const int lane = int(row - panel * kPanel);
        with_type(source.dtype, [&](auto from_type) {
          with_type(storage, [&](auto to_type) {
            using From = decltype(from_type);
            using To = decltype(to_type);
            pack_row<From, To>(from, cols_, lane, reinterpret_cast<To*>(to));
          });
        });
      }
      first += source.rows;
    }
  };
  constexpr std::size_t kWorthThreads = std::size_t(1) << 20;  // bytes
  spread(panels(), memory_.bytes() < kWorthThreads ? 1 : threads, pack_panel);
}

void CpuMatrix::read_row(std::int64_t row, bool add, std::span<float> to) const {
  with_type(dtype_, [&](auto type) {
    using T = decltype(type);
    const T* from = reinterpret_cast<const T*>(memory_.data()) + row / kPanel * cols_ * kPanel + row % kPanel;
    for (std::int64_t k = 0; k < cols_; ++k) {
      const float value = widen(from[k * kPanel]);
      to[std::size_t(k)] = add ? to[std::size_t(k)] + value : value;
    }
  });
}

CpuVector::CpuVector(std::span<const HostMatrix> sources) {
  for (const HostMatrix& source : sources) {
    if (source.rows != 1) internal("upload: expected vectors (1 row), got " + std::to_string(source.rows) + " rows");
    size_ += source.cols;
  }
  memory_ = MemoryRegion(std::size_t(round_up(size_, kPanel)) * sizeof(float), "a weight vector");
  float* to = reinterpret_cast<float*>(memory_.data());
  for (const HostMatrix& source : sources) {
    with_type(source.dtype, [&](auto type) {
      for (std::int64_t k = 0; k < source.cols; ++k) to[k] = read_at<decltype(type)>(source.data, k);
    });
    to += source.cols;
  }
}

CpuKvPool::CpuKvPool(const KvShape& shape) : shape_(shape) {
  if (shape.layers < 1 || shape.kv_heads < 1 || shape.pages < 1 || shape.page_size < 1) {
    internal("KV pool: expected at least 1 layer, head, page and token of a page");
  }
  if (shape.page_size % kKeyGroup != 0) {
    throw Error(ErrorCode::invalid_option, "pageSize: expected a multiple of " + std::to_string(kKeyGroup) + ", got " +
                                               std::to_string(shape.page_size));
  }
  if (shape.head_dim < 1 || shape.head_dim > kMaxHeadDim) {
    throw Error(ErrorCode::unsupported_model, "the CPU backend supports heads of 1 to " + std::to_string(kMaxHeadDim) +
                                                  " dimensions, the model has " + std::to_string(shape.head_dim));
  }
  constexpr std::int64_t kLineBytes = 64;
  const auto element = std::int64_t(bytes_of(shape.dtype));
  first_.head_dim = shape.head_dim;
  first_.padded_dim = int(round_up(shape.head_dim, kPanel));
  first_.page_size = shape.page_size;
  first_.dtype = shape.dtype;
  first_.value_offset = std::size_t(round_up(std::int64_t(shape.head_dim) * shape.page_size * element, kLineBytes));
  first_.head_bytes = first_.value_offset + std::size_t(round_up(
                                                std::int64_t(first_.padded_dim) * shape.page_size * element, kLineBytes));
  first_.page_bytes = first_.head_bytes * std::size_t(shape.kv_heads);
  memory_ = MemoryRegion(first_.page_bytes * std::size_t(shape.pages) * std::size_t(shape.layers), "the KV cache");
  first_.data = memory_.data();
}

KvLayer CpuKvPool::layer(int index) const {
  KvLayer layer = first_;
  layer.data += std::size_t(index) * std::size_t(shape_.pages) * first_.page_bytes;
  return layer;
}

}  // namespace splitwiser::cpu
