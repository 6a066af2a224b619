// An array on the device of which the host keeps a copy. What the host changes goes there as a delta, in the lane's order:
// pieces of 16 bytes in pinned memory, which one kernel puts in their places. Nothing goes where nothing differs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "backend/cuda/lane_core.hpp"
#include "step.hpp"

namespace splitwiser::cuda {

class Mirror {
 public:
  Mirror(std::shared_ptr<const Device> device, const char* what) : memory_(std::move(device), what) {}

  // At least `bytes`; addresses stay.
  void grow(std::size_t bytes);
  [[nodiscard]] std::byte* device() const { return memory_.data(); }

  // What the device is to hold from byte `offset` on once send() is done.
  template <typename T>
  void put(std::size_t offset, std::span<const T> values) {
    put_bytes(offset, std::as_bytes(values));
  }
  // The host's copy, for what the device changes by itself.
  template <typename T>
  [[nodiscard]] T* copy(std::size_t offset) {
    return reinterpret_cast<T*>(reinterpret_cast<std::byte*>(pieces_.data()) + offset);
  }
  // Launches what is to change at the lane's place. When it throws, all is forgotten.
  void send(LaneCore& lane);
  // The device may hold anything from here on.
  void forget();

 private:
  enum class State : std::uint8_t { unknown, same, changed };

  void put_bytes(std::size_t offset, std::span<const std::byte> bytes);

  Scratch memory_;
  std::vector<StepPiece> pieces_;
  std::vector<State> states_;           // of pieces_, on the device
  std::vector<std::int32_t> changed_;   // pieces in State::changed
};

}  // namespace splitwiser::cuda
