// Memory of the simulated device. A device address is the host address of the same bytes, so that kernels can use it.
// Fresh and freed memory is filled with 0xFF: NaN in every float type, -1 in every integer type.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <cuda.h>

#include "simt/machine.hpp"

namespace simdriver {

inline constexpr std::size_t kGranularity = std::size_t(2) << 20;

// What an address range is to a copy or a kernel.
enum class Where { device, pinned, pageable, bad };

class Memory {
 public:
  explicit Memory(std::uint64_t total) : total_(total) {}

  // The virtual-memory calls; sizes and addresses are multiples of kGranularity. `why` gets what was wrong.
  CUresult reserve(std::size_t bytes, std::size_t align, std::uint64_t hint, std::uint64_t& to, std::string& why);
  CUresult free_reservation(std::uint64_t at, std::size_t bytes, std::string& why);
  CUresult create(std::size_t bytes, std::uint64_t& to, std::string& why);
  CUresult release(std::uint64_t handle, std::string& why);
  CUresult map(std::uint64_t at, std::size_t bytes, std::size_t offset, std::uint64_t handle, std::string& why);
  CUresult unmap(std::uint64_t at, std::size_t bytes, std::string& why);
  CUresult set_access(std::uint64_t at, std::size_t bytes, bool writable, std::string& why);
  unsigned long long access(std::uint64_t at) const;  // CUmemAccess_flags

  // cuMemAlloc and cuMemFree.
  CUresult allocate(std::size_t bytes, std::uint64_t& to);
  CUresult free(std::uint64_t at, std::string& why);

  // Pinned memory: allocated here, or the caller's own, registered.
  CUresult allocate_host(std::size_t bytes, unsigned flags, void*& to);
  CUresult free_host(void* at, std::string& why);
  CUresult register_host(void* at, std::size_t bytes, unsigned flags);
  CUresult unregister_host(void* at, std::string& why);
  bool host_flags(const void* at, unsigned& to) const;

  Where where(const void* at, std::size_t bytes) const;
  // The accessible device range that holds `at`; 0 bytes if there is none.
  std::pair<std::uint64_t, std::size_t> range_of(std::uint64_t at) const;

  // Work that comes before whatever is freed from now on: what the host knows to be done.
  void ordered_after(simt::Token token) { before_ = {token}; }

  std::uint64_t total() const { return total_; }
  std::uint64_t used() const { return used_; }
  std::uint64_t peak() const { return peak_; }
  std::uint64_t allocations() const { return allocations_; }          // device memory, since start
  std::uint64_t host_allocations() const { return host_allocations_; }
  void reset_counts() { allocations_ = host_allocations_ = 0; }
  // What is still allocated, one line each.
  std::vector<std::string> leaks() const;

 private:
  struct Physical { std::size_t bytes; std::uint64_t mapped_at; bool released; };
  struct Mapping { std::size_t bytes; std::uint64_t handle; unsigned long long access; };
  struct Pinned { std::size_t bytes; unsigned flags; bool ours; };

  bool take(std::size_t bytes);
  void drop_physical(std::uint64_t handle);
  // The mappings that make up [at, at + bytes) exactly; empty if they do not.
  std::vector<std::uint64_t> mappings_of(std::uint64_t at, std::size_t bytes) const;

  std::uint64_t total_;
  std::uint64_t used_ = 0;
  std::uint64_t peak_ = 0;
  std::uint64_t allocations_ = 0;
  std::uint64_t host_allocations_ = 0;
  std::vector<simt::Token> before_;
  std::uint64_t next_handle_ = 0x51D0001;
  std::map<std::uint64_t, std::size_t> reservations_;
  std::map<std::uint64_t, Physical> physical_;
  std::map<std::uint64_t, Mapping> mappings_;
  std::map<std::uint64_t, std::size_t> allocated_;
  std::map<std::uint64_t, Pinned> pinned_;
};

}  // namespace simdriver
