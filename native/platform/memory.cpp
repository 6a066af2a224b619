#include "platform/memory.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <new>
#include <string>
#include <utility>

#include "platform/cgroup.hpp"
#include "support/error.hpp"

#if defined(__unix__) || defined(__APPLE__)
#define SPLITWISER_HAS_MMAP 1
#include <sys/mman.h>
#include <unistd.h>
#else
#define SPLITWISER_HAS_MMAP 0
#endif

namespace splitwiser {
namespace {

constexpr std::size_t kHugePage = std::size_t(2) << 20;

// Physical memory where /proc says nothing; 0: unknown.
std::uint64_t physical_bytes() {
#if SPLITWISER_HAS_MMAP
  const long pages = ::sysconf(_SC_PHYS_PAGES);
  const long page = ::sysconf(_SC_PAGESIZE);
  if (pages > 0 && page > 0) return static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page);
#endif
  return 0;
}

std::string megabytes(std::uint64_t bytes) { return std::to_string((bytes + 999'999) / 1'000'000) + " MB"; }

}  // namespace

MemoryStatus memory_status() {
  MemoryStatus status;
  std::ifstream file("/proc/meminfo");
  std::string name;
  std::string rest;
  std::uint64_t kilobytes = 0;
  while (file >> name >> kilobytes && std::getline(file, rest)) {
    if (name == "MemTotal:") status.total_bytes = kilobytes * 1024;
    if (name == "MemAvailable:") status.available_bytes = kilobytes * 1024;
  }
  if (status.total_bytes == 0) status.total_bytes = physical_bytes();
  if (status.available_bytes == 0) status.available_bytes = status.total_bytes;
  if (const auto group = cgroup_memory()) {
    status.total_bytes = std::min(status.total_bytes, group->limit);
    status.available_bytes = std::min(status.available_bytes, group->available);
  }
  return status;
}

MemoryRegion::MemoryRegion(std::size_t bytes, const char* what) {
  if (bytes == 0) return;
  const auto refuse = [&](const std::string& why) {
    throw Error(ErrorCode::out_of_memory, std::string(what) + " needs " + megabytes(bytes) + ": " + why +
                                              ". Free memory, or ask for less (smaller model, dtype, kvCacheBytes)");
  };
  // The question costs a few file reads: not for small regions.
  if (bytes >= kHugePage) {
    const MemoryStatus status = memory_status();
    if (status.available_bytes != 0 && bytes > status.available_bytes) {
      refuse("only " + megabytes(status.available_bytes) + " are available to this process");
    }
  }
#if SPLITWISER_HAS_MMAP
  // Huge pages need an aligned start: map more and give the edges back.
  const bool huge = bytes >= 2 * kHugePage;
  const std::size_t mapped = huge ? bytes + kHugePage : bytes;
  if (mapped < bytes) refuse("that is more than an address space holds");
  void* start = ::mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (start == MAP_FAILED) refuse("the system refused");
  data_ = static_cast<std::byte*>(start);
  bytes_ = bytes;
  if (huge) {
    const auto address = reinterpret_cast<std::uintptr_t>(start);
    const std::size_t head = (kHugePage - address % kHugePage) % kHugePage;
    data_ += head;
    // Whole system pages only; the tail that shares a page with the region stays.
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    const std::size_t end = (head + bytes + page - 1) / page * page;
    if (head > 0) ::munmap(start, head);
    if (end < mapped) ::munmap(static_cast<std::byte*>(start) + end, mapped - end);
#if defined(MADV_HUGEPAGE)
    ::madvise(data_, bytes, MADV_HUGEPAGE);  // advice: a refusal changes nothing
#endif
  }
#else
  data_ = static_cast<std::byte*>(::operator new(bytes, std::align_val_t(4096), std::nothrow));
  if (data_ == nullptr) refuse("the system refused");
  std::memset(data_, 0, bytes);
  bytes_ = bytes;
#endif
}

void MemoryRegion::release() noexcept {
  if (data_ == nullptr) return;
#if SPLITWISER_HAS_MMAP
  ::munmap(data_, bytes_);
#else
  ::operator delete(data_, std::align_val_t(4096));
#endif
  data_ = nullptr;
  bytes_ = 0;
}

MemoryRegion::~MemoryRegion() { release(); }

MemoryRegion::MemoryRegion(MemoryRegion&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

MemoryRegion& MemoryRegion::operator=(MemoryRegion&& other) noexcept {
  if (this != &other) {
    release();
    data_ = std::exchange(other.data_, nullptr);
    bytes_ = std::exchange(other.bytes_, 0);
  }
  return *this;
}

}  // namespace splitwiser
