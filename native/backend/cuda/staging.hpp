// Pinned memory in which the host puts what a step's kernels read, each piece with a place on the device to copy it to, and
// from which it takes results. Slots are used in turn; a slot is used again when the step that used it is done. The places on
// the device are the same for all slots: a lane's copies come after the kernels that read what they replace.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <vector>

#include "backend/cuda/memory.hpp"

namespace splitwiser::cuda {

class Staging {
 public:
  static constexpr std::size_t kSlots = 4;

  struct Block {
    std::byte* host;
    std::byte* device;
    std::size_t bytes;
  };

  explicit Staging(std::shared_ptr<const Device> device);

  // The next slot, empty. Its last user must be done.
  void next_slot();
  [[nodiscard]] std::size_t slot() const { return slot_; }
  // Aligned to 256 bytes. New memory is asked for only by steps larger than any before.
  [[nodiscard]] Block take(std::size_t bytes);

 private:
  struct Place {
    std::byte* at;
    std::size_t bytes;
  };
  struct Slot {
    std::vector<PinnedMemory> chunks;
    std::size_t chunk = 0;
    std::size_t used = 0;  // of that chunk
  };

  std::shared_ptr<const Device> device_;
  Arena arena_;
  std::vector<Place> device_chunks_;  // behind chunk i of every slot
  std::array<Slot, kSlots> slots_;
  std::size_t slot_ = 0;
};

}  // namespace splitwiser::cuda
