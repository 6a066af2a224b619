// The machine's state. Private.
#pragma once

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>

#include "simt/findings.hpp"
#include "simt/machine.hpp"
#include "simt/worker.hpp"

namespace simt {

class Checker;      // check/: memory, clocks. Null in the fast tier
struct CheckedGrid;

struct Resident {
  std::uint32_t index;  // of the block
  int sm;
};

struct Grid {
  Token token = 0;
  GridLaunch launch;
  std::unique_ptr<std::byte[]> params;  // aligned as operator new does
  // Blocks are placed in the order of a permutation: i -> (i * stride + offset) mod grid.
  std::uint32_t placed = 0, finished = 0, stride = 1, offset = 0;
  std::vector<Resident> resident;       // placed on an SM, not started
  std::atomic<bool> killed = false;
  Status status = Status::ok;
  std::string message;
  int threads = 0, registers = 0, shared = 0;  // what a block takes of an SM
  int running = 0;                      // blocks started and not finished
  Counters counters;
  std::uint64_t first_tick = 0, last_tick = 0;
  SmSet sms_used;
  CheckedGrid* checked = nullptr;
};

struct Sm {
  int threads = 0, blocks = 0, registers = 0, shared = 0;  // in use
};

struct Machine::Impl {
  explicit Impl(const Options& options);
  ~Impl();

  Options options;
  SmLimits limits;
  FindingLog findings;
  std::array<std::uint8_t, 17> mma_order{};  // of the 16 products and (16) the accumulator
  Checker* checker = nullptr;

  mutable std::mutex mutex;
  std::condition_variable work, finished;
  std::vector<std::shared_ptr<Grid>> grids;    // in flight, by priority, then by age
  std::vector<Token> calling;                  // grids whose callback runs
  std::vector<Sm> sms;
  std::vector<std::unique_ptr<Worker>> workers;
  bool stopping = false;
  std::atomic<std::uint64_t> ticks = 1, progress = 0, next_token = 1;
  Counters totals;
  std::map<std::string, Counters> by_kernel;
  Random random;

  Token start(GridLaunch launch);
  void alert();  // workers look at what is new
  // With the lock: gives SMs to blocks that wait, by priority.
  void place();
  void place(Grid& grid);
  void release(Grid& grid, int sm);
  // Ends a grid; its live blocks are torn down by their workers.
  void kill(Grid& grid, Status status, std::string message);
  // The running thread's grid fails. Does not return.
  [[noreturn]] void fail(Thread& self, Status status, std::string message);

  bool note(FindingKind kind, const RawPlace& here, const RawPlace& there = {}) {
    return findings.note(kind, here, there);
  }
  void report(FindingKind kind, const RawPlace& here, std::string text) {
    if (findings.note(kind, here, {})) findings.add(kind, here, {}, std::move(text));
  }
};

[[nodiscard]] RawPlace place_of(const Thread& thread, const void* site);
inline Machine::Impl& machine_of(const Thread& thread) { return thread.warp->block->worker->machine; }

}  // namespace simt
