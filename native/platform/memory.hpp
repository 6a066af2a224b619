// How much memory there is, and big zeroed regions of it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace splitwiser {

struct MemoryStatus {
  std::uint64_t total_bytes = 0;      // of the machine, lowered to the cgroup's limit
  std::uint64_t available_bytes = 0;  // for this process now, cgroup limits included
};
[[nodiscard]] MemoryStatus memory_status();

// Zeroed, page-aligned memory that takes room only where it is touched; huge pages where the system likes.
class MemoryRegion {
 public:
  MemoryRegion() = default;
  // `what` names the use in the message. Throws out_of_memory when the system refuses, or when more is
  // asked for than is available: the kernel would hand it out and kill the process later.
  MemoryRegion(std::size_t bytes, const char* what);
  ~MemoryRegion();
  MemoryRegion(MemoryRegion&& other) noexcept;
  MemoryRegion& operator=(MemoryRegion&& other) noexcept;
  MemoryRegion(const MemoryRegion&) = delete;
  MemoryRegion& operator=(const MemoryRegion&) = delete;

  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

 private:
  void release() noexcept;

  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace splitwiser
