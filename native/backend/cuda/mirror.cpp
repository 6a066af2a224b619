#include "backend/cuda/mirror.hpp"

#include <algorithm>
#include <cstring>

namespace splitwiser::cuda {

void Mirror::grow(std::size_t bytes) {
  memory_.grow(bytes);
  const std::size_t count = (bytes + sizeof(StepPiece) - 1) / sizeof(StepPiece);
  if (count <= pieces_.size()) return;
  pieces_.resize(count, StepPiece{});
  states_.resize(count, State::unknown);
}

void Mirror::put_bytes(std::size_t offset, std::span<const std::byte> bytes) {
  auto* copy = reinterpret_cast<std::byte*>(pieces_.data());
  for (std::size_t done = 0; done < bytes.size();) {
    const std::size_t at = offset + done, piece = at / sizeof(StepPiece);
    const std::size_t size = std::min(bytes.size() - done, (piece + 1) * sizeof(StepPiece) - at);
    if (states_[piece] == State::unknown || std::memcmp(copy + at, bytes.data() + done, size) != 0) {
      std::memcpy(copy + at, bytes.data() + done, size);
      if (states_[piece] != State::changed) changed_.push_back(std::int32_t(piece));
      states_[piece] = State::changed;
    }
    done += size;
  }
}

void Mirror::send(LaneCore& lane) {
  if (changed_.empty()) return;
  try {
    const std::size_t values_bytes = changed_.size() * sizeof(StepPiece), ids_bytes = changed_.size() * sizeof(std::int32_t);
    const Staging::Block block = lane.staging().take(values_bytes + ids_bytes);
    auto* values = reinterpret_cast<StepPiece*>(block.host);
    auto* ids = reinterpret_cast<std::int32_t*>(block.host + values_bytes);
    for (const std::int32_t piece : changed_) {
      *values++ = pieces_[std::size_t(piece)];
      *ids++ = piece;
      states_[std::size_t(piece)] = State::same;
    }
    StepPatchParams params{};
    params.array = reinterpret_cast<StepPiece*>(memory_.data());
    params.values = reinterpret_cast<const StepPiece*>(block.host);
    params.pieces = reinterpret_cast<const std::int32_t*>(block.host + values_bytes);
    params.count = std::int32_t(changed_.size());
    lane.launch(plan_step_patch(params, lane.shape()), params);
    changed_.clear();
  } catch (...) {
    forget();
    throw;
  }
}

void Mirror::forget() {
  std::ranges::fill(states_, State::unknown);
  changed_.clear();
}

}  // namespace splitwiser::cuda
