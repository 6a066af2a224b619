#include "backend/cuda/staging.hpp"

#include <algorithm>

namespace splitwiser::cuda {
namespace {

constexpr std::size_t kAlignment = 256;
constexpr std::size_t kChunkBytes = std::size_t(256) << 10;

}  // namespace

Staging::Staging(std::shared_ptr<const Device> device) : device_(std::move(device)), arena_(device_, "the inputs of steps") {
  for (Slot& slot : slots_) slot.chunks.push_back({PinnedMemory(device_, kChunkBytes), arena_.allocate(kChunkBytes)});
}

void Staging::next_slot() {
  slot_ = (slot_ + 1) % kSlots;
  slots_[slot_].chunk = slots_[slot_].used = 0;
}

Staging::Block Staging::take(std::size_t bytes) {
  Slot& slot = slots_[slot_];
  const std::size_t room = (std::max<std::size_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
  while (slot.chunk < slot.chunks.size() && slot.used + room > slot.chunks[slot.chunk].host.bytes()) {
    slot.chunk++;
    slot.used = 0;
  }
  if (slot.chunk == slot.chunks.size()) {
    const std::size_t size = std::max(room, kChunkBytes);
    slot.chunks.push_back({PinnedMemory(device_, size), arena_.allocate(size)});
  }
  const Chunk& chunk = slot.chunks[slot.chunk];
  const Block block{chunk.host.data() + slot.used, chunk.device + slot.used, bytes};
  slot.used += room;
  return block;
}

}  // namespace splitwiser::cuda
