#include "backend/cuda/upload.hpp"

#include <algorithm>

namespace splitwiser::cuda {
namespace {

constexpr std::size_t kPieceBytes = std::size_t(8) << 20;

}  // namespace

Uploader::Uploader(std::shared_ptr<Context> context)
    : context_(std::move(context)), stream_(context_, Stream::Priority::normal) {}

Uploader::~Uploader() {
  // Copies read the pieces until they are done.
  context_->device().driver().StreamSynchronize(stream_.handle());
  for (const Piece& piece : pieces_) {
    if (piece.sent != nullptr) context_->give_back(piece.sent);
  }
}

Uploader::Piece& Uploader::next_piece() {
  const Device& device = context_->device();
  Piece& piece = pieces_[next_++ % pieces_.size()];
  if (piece.memory.data() == nullptr) piece.memory = PinnedMemory(context_->device_pointer(), kPieceBytes);
  if (piece.sent != nullptr) {
    device.check(device.driver().EventSynchronize(piece.sent), "cuEventSynchronize");
  } else {
    piece.sent = context_->take_event();
  }
  return piece;
}

void Uploader::rows(std::byte* to, std::int64_t rows, std::size_t row_bytes,
                    const std::function<void(std::int64_t, std::byte*)>& make) {
  if (row_bytes > kPieceBytes) throw Error(ErrorCode::internal, "a row of a weight is longer than a piece of pinned memory");
  const std::lock_guard lock(mutex_);
  const Device& device = context_->device();
  const ContextScope scope(device, context_->handle());
  const auto per_piece = std::int64_t(kPieceBytes / row_bytes);
  for (std::int64_t first = 0; first < rows; first += per_piece) {
    Piece& piece = next_piece();
    const std::int64_t count = std::min(per_piece, rows - first);
    for (std::int64_t i = 0; i < count; i++) make(first + i, piece.memory.data() + std::size_t(i) * row_bytes);
    const auto at = reinterpret_cast<CUdeviceptr>(to + std::size_t(first) * row_bytes);
    pending_ = true;
    device.check(device.driver().MemcpyHtoDAsync(at, piece.memory.data(), std::size_t(count) * row_bytes, stream_.handle()),
                 "copying weights to the GPU");
    device.check(device.driver().EventRecord(piece.sent, stream_.handle()), "cuEventRecord");
  }
}

void Uploader::zero(std::byte* to, std::size_t bytes) {
  if (bytes == 0) return;
  const std::lock_guard lock(mutex_);
  const Device& device = context_->device();
  const ContextScope scope(device, context_->handle());
  pending_ = true;
  device.check(device.driver().MemsetD8Async(reinterpret_cast<CUdeviceptr>(to), 0, bytes, stream_.handle()), "cuMemsetD8Async");
}

void Uploader::finish() {
  if (!pending_) return;
  const std::lock_guard lock(mutex_);
  if (!pending_) return;
  stream_.synchronize();
  pending_ = false;
}

}  // namespace splitwiser::cuda
