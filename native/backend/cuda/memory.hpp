// Memory of the device by the virtual-memory calls, and pinned memory of the host.
//
// Mappings belong to the device and not to a context: every lane's context sees them. Physical memory is asked for with
// handles that can be exported (POSIX file descriptors), so that another process can map it one day. Nothing is unmapped
// while work may use it: owners outlive the work (backend.hpp), and a lane's streams are drained before they go.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "backend/cuda/device.hpp"

namespace splitwiser::cuda {

// Addresses, with memory behind the first part of them.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  // Reserves `reserve` bytes of addresses and maps nothing.
  DeviceMemory(std::shared_ptr<const Device> device, std::size_t reserve, const char* what);
  ~DeviceMemory();
  DeviceMemory(DeviceMemory&& other) noexcept;
  DeviceMemory& operator=(DeviceMemory&& other) noexcept;
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  // At least the first `bytes` are mapped afterwards. Throws out_of_memory with what is free and what to change.
  void grow(std::size_t bytes);

  [[nodiscard]] CUdeviceptr address() const { return address_; }
  [[nodiscard]] std::byte* data() const { return reinterpret_cast<std::byte*>(address_); }
  [[nodiscard]] std::size_t mapped() const { return mapped_; }
  [[nodiscard]] std::size_t reserved() const { return reserved_; }

 private:
  struct Piece {
    CUmemGenericAllocationHandle handle;
    std::size_t offset;
    std::size_t bytes;
  };
  void release() noexcept;

  std::shared_ptr<const Device> device_;
  const char* what_ = "";
  CUdeviceptr address_ = 0;
  std::size_t reserved_ = 0;
  std::size_t mapped_ = 0;
  std::size_t granularity_ = 0;
  std::vector<Piece> pieces_;
};

// `bytes` mapped at once; at least one byte, so that it has an address.
[[nodiscard]] DeviceMemory map_memory(std::shared_ptr<const Device> device, std::size_t bytes, const char* what);

// Many small things one after another in one mapping that grows; they are freed together.
class Arena {
 public:
  Arena(std::shared_ptr<const Device> device, const char* what);
  // Aligned to 256 bytes. Contents are undefined.
  [[nodiscard]] std::byte* allocate(std::size_t bytes);
  [[nodiscard]] std::size_t used() const { return used_; }

 private:
  DeviceMemory memory_;
  std::size_t used_ = 0;
};

// Host memory that the device reads and writes at the same address, from every context.
class PinnedMemory {
 public:
  PinnedMemory() = default;
  PinnedMemory(std::shared_ptr<const Device> device, std::size_t bytes);
  ~PinnedMemory();
  PinnedMemory(PinnedMemory&& other) noexcept;
  PinnedMemory& operator=(PinnedMemory&& other) noexcept;
  PinnedMemory(const PinnedMemory&) = delete;
  PinnedMemory& operator=(const PinnedMemory&) = delete;

  [[nodiscard]] std::byte* data() const { return data_; }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  void release() noexcept;

  std::shared_ptr<const Device> device_;
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace splitwiser::cuda
