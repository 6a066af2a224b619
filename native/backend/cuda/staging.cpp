#include "backend/cuda/staging.hpp"

#include <algorithm>

namespace splitwiser::cuda {
namespace {

constexpr std::size_t kAlignment = 256;
constexpr std::size_t kChunkBytes = std::size_t(256) << 10;

}  // namespace

Staging::Staging(std::shared_ptr<const Device> device) : device_(std::move(device)), arena_(device_, "the inputs of steps") {
  for (Slot& slot : slots_) slot.chunks.emplace_back(device_, kChunkBytes);
  device_chunks_.push_back({arena_.allocate(kChunkBytes), kChunkBytes});
}

void Staging::next_slot() {
  slot_ = (slot_ + 1) % kSlots;
  slots_[slot_].chunk = slots_[slot_].used = 0;
}

Staging::Block Staging::take(std::size_t bytes) {
  Slot& slot = slots_[slot_];
  const std::size_t room = (std::max<std::size_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
  while (slot.chunk < slot.chunks.size() && slot.used + room > slot.chunks[slot.chunk].bytes()) {
    slot.chunk++;
    slot.used = 0;
  }
  if (slot.chunk == slot.chunks.size()) {
    slot.chunks.emplace_back(device_, std::max(room, kChunkBytes));
  }
  const PinnedMemory& host = slot.chunks[slot.chunk];
  if (slot.chunk == device_chunks_.size()) device_chunks_.push_back({nullptr, 0});
  Place& device = device_chunks_[slot.chunk];
  // A larger one takes its place; what was launched with the old one's address finds it unchanged.
  if (device.bytes < host.bytes()) device = {arena_.allocate(host.bytes()), host.bytes()};
  const Block block{host.data() + slot.used, device.at + slot.used, bytes};
  slot.used += room;
  return block;
}

}  // namespace splitwiser::cuda
