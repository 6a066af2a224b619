// Weights on their way to the device: converted into pinned pieces and copied from there while the next piece is converted.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

#include "backend/cuda/memory.hpp"

namespace splitwiser::cuda {

class Uploader {
 public:
  explicit Uploader(std::shared_ptr<Context> context);
  ~Uploader();
  Uploader(const Uploader&) = delete;
  Uploader& operator=(const Uploader&) = delete;

  // Fills `rows` rows of `row_bytes` at `to`; make(row, bytes) writes a row, and has been called for all when this returns.
  void rows(std::byte* to, std::int64_t rows, std::size_t row_bytes,
            const std::function<void(std::int64_t, std::byte*)>& make);
  void zero(std::byte* to, std::size_t bytes);
  // Waits until all is on the device. Cheap where nothing was sent since the last call; any thread may call it.
  void finish();

 private:
  struct Piece {
    PinnedMemory memory;
    CUevent sent = nullptr;  // of the last copy from it
  };
  [[nodiscard]] Piece& next_piece();

  std::shared_ptr<Context> context_;
  Stream stream_;
  std::mutex mutex_;
  std::atomic<bool> pending_{false};
  std::array<Piece, 2> pieces_;
  std::size_t next_ = 0;
};

}  // namespace splitwiser::cuda
