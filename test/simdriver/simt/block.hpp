// A block in execution: its threads (fibers), warps and shared memory. Private to the machine.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <memory>
#include <vector>

#include "simt/counters.hpp"
#include "simt/language.hpp"

namespace simt {

struct Block;
struct Grid;
class Worker;
struct CheckedBlock;  // check/: shadow, clocks, traffic

// Instructions at which the threads of a warp or a block meet.
enum class Meeting : std::uint8_t { none, sync_warp, shuffle, vote, reduce, match, ldmatrix, mma, sync_threads };
[[nodiscard]] const char* name_of(Meeting meeting);

struct AsyncCopy {
  char* to;
  const char* from;
  std::uint8_t bytes, valid;
  const void* site;
};

struct Warp;

struct alignas(64) Thread : ThreadView {
  Warp* warp = nullptr;
  std::uint32_t lane = 0;
  std::uint32_t index = 0;  // in the block
  char* stack = nullptr;    // its lowest address
  // Where it waits, for reports.
  Meeting at = Meeting::none;
  std::uint32_t at_mask = 0;
  const void* at_site = nullptr;
  // cp.async: copies not arrived yet, oldest first. groups[i]: how many copies were issued up to the end of group i.
  std::vector<AsyncCopy> copies;
  std::vector<std::uint32_t> groups;
  std::uint32_t accesses = 0;  // since it last gave way (checked tier)
};

// Lanes of one mask that gather for a collective.
struct Gathering {
  std::uint32_t mask = 0, arrived = 0;
  Meeting meeting = Meeting::none;
  std::uint8_t variant = 0;      // ldmatrix x2/x4/trans, shuffle kinds, ...: lanes must agree
  const void* site = nullptr;
};

struct Warp {
  Block* block = nullptr;
  Thread* threads = nullptr;     // the first lane's
  std::uint32_t index = 0;
  std::uint32_t members = 0;     // lanes that exist
  std::array<void*, 32> stack_pointer{};  // of lanes that do not run
  std::uint32_t ready = 0;       // may run; the running lane is not among them
  std::uint32_t exited = 0;
  std::uint32_t at_barrier = 0;
  std::uint32_t gatherings = 0;  // in use
  std::array<Gathering, 32> gathering;
  // Operands and results, each lane its own until the last has come.
  std::array<std::uint64_t, 32> operand{};
  std::array<std::uint64_t, 32> result{};
  std::array<std::uint32_t, 32> detail{};
  alignas(64) std::array<std::array<std::uint16_t, 16>, 16> a{};  // mma: A row by row
  alignas(64) std::array<std::array<std::uint16_t, 8>, 16> b{};   // B, k by k
  alignas(64) std::array<std::array<float, 8>, 16> d{};           // accumulators, row by row
  alignas(64) std::array<std::array<std::uint32_t, 4>, 32> fragment{};  // ldmatrix results
};

struct Block : BlockView {
  Grid* grid = nullptr;
  Worker* worker = nullptr;
  std::uint32_t index = 0;        // in the grid
  int sm = 0;
  std::uint32_t thread_count = 0, live = 0, exited = 0;
  std::uint32_t ready_warps = 0;  // a bit for each of at most 32
  std::int32_t ready_slot = -1;   // in the worker's list of blocks with ready warps
  std::uint32_t barrier_arrived = 0;
  std::uint32_t barrier_true = 0;    // predicates, of the barrier that gathers
  std::uint32_t barrier_result = 0;  // of the last that completed
  std::uint32_t barrier_kind = 0;
  const void* barrier_site = nullptr;  // of the first to come
  bool killed = false;
  std::uint64_t spins = 0;        // yields since the last thread ended or barrier completed
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  std::vector<char*> stacks;
  std::vector<char> shared_storage;
  std::size_t shared_bytes = 0;
  Counters counters;
  CheckedBlock* checked = nullptr;
};

inline Thread& running() { return *static_cast<Thread*>(current_view); }

}  // namespace simt
