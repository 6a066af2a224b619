// What a grid did, counted exactly. (f): in both tiers; (c): in the checked tier only, else 0.
#pragma once

#include <cstdint>

namespace simt {

struct Counters {
  std::uint64_t launches = 0;                 // (f)
  std::uint64_t blocks = 0;                   // (f)
  // Global memory. Bytes as the threads asked for them, each access counted.
  std::uint64_t global_load_bytes = 0;        // (c) all loads, asynchronous ones too
  std::uint64_t global_store_bytes = 0;       // (c)
  std::uint64_t async_copy_bytes = 0;         // (f) cp.async: the valid bytes that were read
  std::uint64_t async_copies = 0;             // (f) thread-level instructions
  std::uint64_t read_only_load_bytes = 0;     // (f) load_nc_16
  // 32-byte sectors. Requested: for each warp-level instruction the different sectors that its lanes touch. The lanes'
  // accesses are taken for one instruction where they come from the same place of the code and are each lane's n-th from
  // there since the warp's last collective (or barrier, or the start).
  std::uint64_t global_load_requests = 0;     // (c) warp-level instructions
  std::uint64_t global_store_requests = 0;    // (c)
  std::uint64_t global_load_sectors = 0;      // (c)
  std::uint64_t global_store_sectors = 0;     // (c)
  std::uint64_t unique_load_sectors = 0;      // (c) different ones over the whole grid
  std::uint64_t unique_store_sectors = 0;     // (c)
  // Shared memory. A conflict is a further pass over the banks: 32 banks of 4 bytes, a warp's access of 4 bytes in one
  // phase, of 8 bytes in two of 16 lanes, of 16 bytes in four of 8 lanes; ldmatrix in one phase of 8 rows for each matrix.
  std::uint64_t shared_load_bytes = 0;        // (c) plain loads
  std::uint64_t shared_store_bytes = 0;       // (c) plain stores
  std::uint64_t shared_load_conflicts = 0;    // (c) plain loads
  std::uint64_t shared_store_conflicts = 0;   // (c) plain stores
  std::uint64_t async_copy_conflicts = 0;     // (c) cp.async's writes
  std::uint64_t ldmatrix = 0;                 // (f) warp-level instructions
  std::uint64_t ldmatrix_conflicts = 0;       // (f)
  std::uint64_t mma = 0;                      // (f) warp-level m16n8k16
  std::uint64_t barriers = 0;                 // (f) __syncthreads, of a block
  std::uint64_t warp_syncs = 0;               // (f) __syncwarp, of a warp
  std::uint64_t shuffles = 0;                 // (f) warp-level
  std::uint64_t votes = 0;                    // (f) ballot, any, all, warp-level
  std::uint64_t atomics = 0;                  // (f) thread-level
  std::uint64_t fences = 0;                   // (f) thread-level

  void add(const Counters& other);
};

}  // namespace simt
