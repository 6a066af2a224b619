// What the machine tells the checked tier, and asks of it. Private. None of it is called in the fast tier, where
// Machine::Impl::checker is null.
#pragma once

#include <cstddef>
#include <cstdint>

#include "simt/atomics.hpp"
#include "simt/block.hpp"
#include "simt/machine.hpp"

namespace simt {

class Checker;

extern bool instrumented;  // set by the instrumented objects' constructors

[[nodiscard]] Checker* new_checker(Machine::Impl& machine);
void delete_checker(Checker* checker);

// Around fibers: the memory is theirs, and in between the host's.
void begin_fibers(Checker& checker);
void end_fibers(Checker& checker);

// With the machine's lock.
void check_grid_starts(Machine::Impl& machine, Grid& grid);
void check_grid_ends(Grid& grid);
// On the worker's thread.
void check_block_starts(Block& block);
void check_block_ends(Block& block);

// All threads of the block have met at __syncthreads; lanes of a warp at __syncwarp.
void check_barrier(Block& block);
void check_sync_warp(Warp& warp, std::uint32_t lanes);
// The lanes' accesses up to here are grouped into instructions (counters).
void check_warp_meets(Warp& warp);

enum class AccessKind : std::uint8_t { load, store, read_only_load, async_load, ldmatrix };
// Before an access. Does not return where the access must not happen: the grid has failed.
void check_access(Thread& self, const void* address, std::size_t bytes, AccessKind kind, const void* site);
void check_async_issue(Thread& self, void* to, std::size_t bytes, const void* site);
void check_async_arrival(Thread& self, void* to, std::size_t bytes, const void* site);
void check_atomic(Thread& self, void* at, std::size_t bytes, Order order, const void* site);
void check_fence(Thread& self);

}  // namespace simt
