#include "memory.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <iterator>

#include "device.hpp"

namespace simdriver {
namespace {

void* pointer(std::uint64_t at) { return reinterpret_cast<void*>(at); }
std::uint64_t address(const void* at) { return reinterpret_cast<std::uint64_t>(at); }
bool whole(std::uint64_t number) { return number % kGranularity == 0; }

std::string text(std::uint64_t at, std::size_t bytes) {
  char line[64];
  std::snprintf(line, sizeof line, "%zu bytes at 0x%llx", bytes, static_cast<unsigned long long>(at));
  return line;
}

// Address space without memory, aligned; 0 if there is none.
std::uint64_t reserve_space(std::size_t bytes, std::size_t align) {
  void* const got = mmap(nullptr, bytes + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (got == MAP_FAILED) return 0;
  const std::uint64_t begin = address(got), at = (begin + align - 1) / align * align;
  if (at > begin) munmap(got, at - begin);
  if (begin + align > at) munmap(pointer(at + bytes), begin + align - at);
  return at;
}

bool back(std::uint64_t at, std::size_t bytes, int protection) {
  return mmap(pointer(at), bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != MAP_FAILED;
}

// The entry of `map` whose [first, first + size) holds `at`.
template <class Map>
auto holder(const Map& map, std::uint64_t at) {
  auto found = map.upper_bound(at);
  return found == map.begin() ? map.end() : std::prev(found);
}

}  // namespace

CUresult Memory::reserve(std::size_t bytes, std::size_t align, std::uint64_t hint, std::uint64_t& to, std::string& why) {
  if (bytes == 0 || !whole(bytes) || !whole(align) || !whole(hint)) {
    why = "size, alignment and address must be multiples of the granularity (2 MiB)";
    return CUDA_ERROR_INVALID_VALUE;
  }
  to = reserve_space(bytes, std::max(align, kGranularity));
  if (to == 0) return CUDA_ERROR_OUT_OF_MEMORY;
  reservations_[to] = bytes;
  return CUDA_SUCCESS;
}

CUresult Memory::free_reservation(std::uint64_t at, std::size_t bytes, std::string& why) {
  const auto found = reservations_.find(at);
  if (found == reservations_.end() || found->second != bytes) {
    why = text(at, bytes) + " is not a whole reservation";
    return CUDA_ERROR_INVALID_VALUE;
  }
  const auto mapped = mappings_.lower_bound(at);
  if (mapped != mappings_.end() && mapped->first < at + bytes) {
    why = "the reservation of " + text(at, bytes) + " is freed while memory is mapped in it";
    return CUDA_ERROR_INVALID_VALUE;
  }
  munmap(pointer(at), bytes);
  reservations_.erase(found);
  return CUDA_SUCCESS;
}

bool Memory::take(std::size_t bytes) {
  if (bytes > total_ - used_) return false;
  used_ += bytes;
  peak_ = std::max(peak_, used_);
  ++allocations_;
  return true;
}

CUresult Memory::create(std::size_t bytes, std::uint64_t& to, std::string& why) {
  if (bytes == 0 || !whole(bytes)) {
    why = "the size must be a multiple of the granularity (2 MiB)";
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (!take(bytes)) return CUDA_ERROR_OUT_OF_MEMORY;
  to = next_handle_++;
  physical_[to] = {bytes, 0, false};
  return CUDA_SUCCESS;
}

void Memory::drop_physical(std::uint64_t handle) {
  const auto found = physical_.find(handle);
  if (!found->second.released || found->second.mapped_at != 0) return;
  used_ -= found->second.bytes;
  physical_.erase(found);
}

CUresult Memory::release(std::uint64_t handle, std::string& why) {
  const auto found = physical_.find(handle);
  if (found == physical_.end() || found->second.released) {
    why = "no such allocation";
    return CUDA_ERROR_INVALID_VALUE;
  }
  found->second.released = true;  // freed once it is unmapped too
  drop_physical(handle);
  return CUDA_SUCCESS;
}

CUresult Memory::map(std::uint64_t at, std::size_t bytes, std::size_t offset, std::uint64_t handle, std::string& why) {
  const auto physical = physical_.find(handle);
  const auto space = holder(reservations_, at);
  if (physical == physical_.end() || physical->second.released) {
    why = "no such allocation";
  } else if (offset != 0 || physical->second.bytes != bytes || !whole(at)) {
    why = "an allocation is mapped as a whole, at a multiple of the granularity, with offset 0";
  } else if (space == reservations_.end() || at + bytes > space->first + space->second) {
    why = text(at, bytes) + " is not inside a reservation";
  } else if (physical->second.mapped_at != 0) {
    why = "the simulated driver maps an allocation at one address at a time";
    return CUDA_ERROR_NOT_SUPPORTED;
  } else {
    const auto next = mappings_.lower_bound(at);
    const auto previous = holder(mappings_, at);
    const bool taken = (next != mappings_.end() && next->first < at + bytes) ||
                       (previous != mappings_.end() && previous->first + previous->second.bytes > at);
    if (taken) why = text(at, bytes) + " is mapped already";
  }
  if (!why.empty()) return CUDA_ERROR_INVALID_VALUE;
  if (!back(at, bytes, PROT_NONE)) return CUDA_ERROR_OUT_OF_MEMORY;
  physical->second.mapped_at = at;
  mappings_[at] = {bytes, handle, CU_MEM_ACCESS_FLAGS_PROT_NONE};
  return CUDA_SUCCESS;
}

std::vector<std::uint64_t> Memory::mappings_of(std::uint64_t at, std::size_t bytes) const {
  std::vector<std::uint64_t> found;
  std::uint64_t next = at;
  while (next < at + bytes) {
    const auto mapping = mappings_.find(next);
    if (mapping == mappings_.end()) return {};
    found.push_back(next);
    next += mapping->second.bytes;
  }
  if (next != at + bytes) return {};
  return found;
}

CUresult Memory::unmap(std::uint64_t at, std::size_t bytes, std::string& why) {
  const auto mapped = mappings_of(at, bytes);
  if (mapped.empty()) {
    why = text(at, bytes) + " is not made of whole mappings";
    return CUDA_ERROR_INVALID_VALUE;
  }
  for (const std::uint64_t one : mapped) {
    const Mapping mapping = mappings_[one];
    if (mapping.access != CU_MEM_ACCESS_FLAGS_PROT_NONE) machine().on_free(pointer(one), before_);
    back(one, mapping.bytes, PROT_NONE);
    mappings_.erase(one);
    physical_[mapping.handle].mapped_at = 0;
    drop_physical(mapping.handle);
  }
  return CUDA_SUCCESS;
}

CUresult Memory::set_access(std::uint64_t at, std::size_t bytes, bool writable, std::string& why) {
  const auto mapped = mappings_of(at, bytes);
  if (mapped.empty()) {
    why = text(at, bytes) + " is not made of whole mappings";
    return CUDA_ERROR_INVALID_VALUE;
  }
  for (const std::uint64_t one : mapped) {
    Mapping& mapping = mappings_[one];
    mprotect(pointer(one), mapping.bytes, PROT_READ | PROT_WRITE);
    if (mapping.access == CU_MEM_ACCESS_FLAGS_PROT_NONE) {
      machine().on_alloc(pointer(one), mapping.bytes, "cuMemMap " + text(one, mapping.bytes));
    }
    if (!writable) mprotect(pointer(one), mapping.bytes, PROT_READ);
    mapping.access = writable ? CU_MEM_ACCESS_FLAGS_PROT_READWRITE : CU_MEM_ACCESS_FLAGS_PROT_READ;
  }
  return CUDA_SUCCESS;
}

unsigned long long Memory::access(std::uint64_t at) const {
  const auto found = holder(mappings_, at);
  if (found == mappings_.end() || at >= found->first + found->second.bytes) return CU_MEM_ACCESS_FLAGS_PROT_NONE;
  return found->second.access;
}

CUresult Memory::allocate(std::size_t bytes, std::uint64_t& to) {
  const std::size_t rounded = (bytes + 4095) / 4096 * 4096;
  if (!take(rounded)) return CUDA_ERROR_OUT_OF_MEMORY;
  // A page without memory behind it: an overrun of more than the rounding faults even in the fast tier.
  to = reserve_space(rounded + 4096, 4096);
  if (to == 0 || !back(to, rounded, PROT_READ | PROT_WRITE)) {
    used_ -= rounded;
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  allocated_[to] = bytes;
  machine().on_alloc(pointer(to), bytes, "cuMemAlloc " + text(to, bytes));
  return CUDA_SUCCESS;
}

CUresult Memory::free(std::uint64_t at, std::string& why) {
  const auto found = allocated_.find(at);
  if (found == allocated_.end()) {
    why = "the address is not that of an allocation, or it is freed already";
    return CUDA_ERROR_INVALID_VALUE;
  }
  const std::size_t rounded = (found->second + 4095) / 4096 * 4096;
  machine().on_free(pointer(at), before_);
  // The addresses are never used again: any later use of them faults.
  mprotect(pointer(at), rounded, PROT_NONE);
  madvise(pointer(at), rounded, MADV_DONTNEED);
  used_ -= rounded;
  allocated_.erase(found);
  return CUDA_SUCCESS;
}

CUresult Memory::allocate_host(std::size_t bytes, unsigned flags, void*& to) {
  const std::size_t rounded = (bytes + 4095) / 4096 * 4096;
  const std::uint64_t at = bytes == 0 ? 0 : reserve_space(rounded, 4096);
  if (bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  if (at == 0 || !back(at, rounded, PROT_READ | PROT_WRITE)) return CUDA_ERROR_OUT_OF_MEMORY;
  to = pointer(at);
  pinned_[at] = {bytes, flags, true};
  ++host_allocations_;
  machine().on_alloc(to, bytes, "cuMemHostAlloc " + text(at, bytes), simt::Space::pinned);
  return CUDA_SUCCESS;
}

CUresult Memory::free_host(void* at, std::string& why) {
  const auto found = pinned_.find(address(at));
  if (found == pinned_.end() || !found->second.ours) {
    why = "the address is not that of a pinned allocation, or it is freed already";
    return CUDA_ERROR_INVALID_VALUE;
  }
  machine().on_free(at, before_);
  munmap(at, (found->second.bytes + 4095) / 4096 * 4096);
  pinned_.erase(found);
  return CUDA_SUCCESS;
}

CUresult Memory::register_host(void* at, std::size_t bytes, unsigned flags) {
  if (at == nullptr || bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  if (where(at, bytes) != Where::pageable) return CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
  pinned_[address(at)] = {bytes, flags, false};
  machine().on_alloc(at, bytes, "cuMemHostRegister " + text(address(at), bytes), simt::Space::pinned, false, true);
  return CUDA_SUCCESS;
}

CUresult Memory::unregister_host(void* at, std::string& why) {
  const auto found = pinned_.find(address(at));
  if (found == pinned_.end() || found->second.ours) {
    why = "the memory is not registered";
    return CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
  }
  machine().on_free(at, before_);
  pinned_.erase(found);
  return CUDA_SUCCESS;
}

bool Memory::host_flags(const void* at, unsigned& to) const {
  const auto found = holder(pinned_, address(at));
  if (found == pinned_.end() || address(at) >= found->first + found->second.bytes) return false;
  to = found->second.flags;
  return true;
}

std::pair<std::uint64_t, std::size_t> Memory::range_of(std::uint64_t at) const {
  const auto block = holder(allocated_, at);
  if (block != allocated_.end() && at < block->first + block->second) return {block->first, block->second};
  auto mapping = holder(mappings_, at);
  if (mapping == mappings_.end() || at >= mapping->first + mapping->second.bytes) return {0, 0};
  const std::uint64_t begin = mapping->first;
  std::uint64_t end = begin;
  for (; mapping != mappings_.end() && mapping->first == end && mapping->second.access; ++mapping) {
    end += mapping->second.bytes;  // neighbours are one range to a copy
  }
  return {begin, std::size_t(end - begin)};
}

Where Memory::where(const void* at, std::size_t bytes) const {
  const std::uint64_t begin = address(at);
  const auto [device, length] = range_of(begin);
  if (length != 0) return begin + bytes <= device + length ? Where::device : Where::bad;
  const auto pinned = holder(pinned_, begin);
  if (pinned != pinned_.end() && begin < pinned->first + pinned->second.bytes) {
    return begin + bytes <= pinned->first + pinned->second.bytes ? Where::pinned : Where::bad;
  }
  const auto space = holder(reservations_, begin);
  if (space != reservations_.end() && begin < space->first + space->second) return Where::bad;  // no access
  return Where::pageable;
}

std::vector<std::string> Memory::leaks() const {
  std::vector<std::string> lines;
  for (const auto& [at, bytes] : allocated_) lines.push_back("device memory (cuMemAlloc): " + text(at, bytes));
  for (const auto& [at, mapping] : mappings_) lines.push_back("mapping (cuMemMap): " + text(at, mapping.bytes));
  for (const auto& [handle, one] : physical_) {
    if (!one.released) lines.push_back("allocation (cuMemCreate): " + std::to_string(one.bytes) + " bytes");
  }
  for (const auto& [at, bytes] : reservations_) lines.push_back("reservation: " + text(at, bytes));
  for (const auto& [at, pinned] : pinned_) lines.push_back("pinned memory: " + text(at, pinned.bytes));
  return lines;
}

}  // namespace simdriver
