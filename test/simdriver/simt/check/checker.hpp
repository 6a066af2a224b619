// The checked tier's state. Private.
//
// Locks: the worker holds memory_mutex while fibers run (accesses are far too many to lock each), and lets waiting host
// threads in between. A host thread never waits for it while it holds the machine's mutex.
#pragma once

#include <array>
#include <atomic>
#include <map>
#include <mutex>
#include <unordered_map>

#include "simt/check.hpp"
#include "simt/check/order.hpp"
#include "simt/check/shadow.hpp"
#include "simt/machine_impl.hpp"

namespace simt {

// What a thread has learnt by acquiring: of each block (by uid) everything before `epoch`, and of `epoch` itself some
// threads up to a clock.
struct Seen {
  std::uint32_t epoch = 0;
  std::map<std::uint16_t, std::uint16_t> threads;
};
using Acquired = std::map<std::uint32_t, Seen>;
using AcquiredPointer = std::shared_ptr<const Acquired>;

enum class Traffic : std::uint8_t { global_load, global_store, shared_load, shared_store, async_store };

// One access of one lane, until the warp's accesses are grouped.
struct Logged {
  std::uintptr_t address;
  std::int32_t site;
  std::uint32_t allocation;
  std::uint16_t bytes;
  Traffic traffic;
};

struct CheckedThread {
  std::uint16_t clock = 1;
  AcquiredPointer acquired;        // null: nothing
  AcquiredPointer fenced;          // what a fence made ready for release by a later relaxed atomic
  AcquiredPointer observed;        // what relaxed atomics saw, for a later fence to acquire
  std::vector<Logged> log;
};

struct CheckedWarp {
  std::uint32_t epoch = 0;                                   // of `seen`; another one: nothing is seen
  std::array<std::array<std::uint16_t, 32>, 32> seen{};      // [lane][other lane]: clock up to which
};

struct CheckedBlock {
  std::uint32_t uid = 0, epoch = 0;
  std::array<std::uint32_t, 64> known{};                     // epochs that are before all of this block
  std::vector<CheckedThread> threads;
  std::vector<CheckedWarp> warps;
  std::vector<Cell> shared;
  CheckedGrid* grid = nullptr;
};

struct CheckedGrid {
  Token token = 0;
  std::shared_ptr<const Clock> clock;
  struct Touched {
    std::vector<std::uint64_t> loaded, stored;               // a bit for each sector
  };
  std::unordered_map<std::uint32_t, Touched> touched;        // by allocation
};

// Whose an epoch is.
struct EpochOwner {
  Token token;
  std::uint32_t block_uid;
  std::int32_t block;    // -1: the host
  const char* label;     // kernel or host access
};

class Checker {
 public:
  explicit Checker(Machine::Impl& machine);

  Machine::Impl& machine;
  OrderBook order;
  std::mutex memory_mutex;
  std::atomic<int> hosts_waiting = 0;

  // ---- epochs ----
  std::uint32_t new_epoch(const EpochOwner& owner);
  [[nodiscard]] const EpochOwner& owner_of(std::uint32_t epoch) const { return owners_[epoch]; }
  std::uint32_t new_block_uid() { return ++block_uids_; }

  // ---- allocations ----
  [[nodiscard]] Allocation* find(std::uintptr_t address);
  [[nodiscard]] Allocation* by_id(std::uint32_t id);
  void add(Allocation allocation);
  void free(std::uintptr_t base, const Clock& before);
  [[nodiscard]] std::string describe(std::uintptr_t address) const;  // beside what an address lies
  [[nodiscard]] const Allocation* freed_at(std::uintptr_t address) const;
  [[nodiscard]] std::vector<Allocation*> overlapping(std::uintptr_t base, std::size_t bytes);

  [[nodiscard]] bool in_image(std::uintptr_t address) const { return address - image_begin_ < image_bytes_; }
  [[nodiscard]] std::int32_t pack(const void* site) const {
    return static_cast<std::int32_t>(reinterpret_cast<std::intptr_t>(site) -
                                     static_cast<std::intptr_t>(image_begin_));
  }
  [[nodiscard]] const void* unpack(std::int32_t site) const {
    return site == 0 ? nullptr
                     : reinterpret_cast<const void*>(static_cast<std::intptr_t>(image_begin_) + site);
  }
  [[nodiscard]] RawPlace place_of_record(const Record& record) const;

  std::unordered_map<std::uintptr_t, std::pair<Token, AcquiredPointer>> released;  // by an atomic's address

 private:
  std::vector<EpochOwner> owners_;
  std::uint32_t block_uids_ = 0;
  std::map<std::uintptr_t, std::unique_ptr<Allocation>> allocations_;
  std::unordered_map<std::uint32_t, Allocation*> by_id_;
  std::vector<std::unique_ptr<Allocation>> freed_;
  Allocation* last_ = nullptr;
  std::uint32_t ids_ = 0;
  std::uintptr_t image_begin_ = 0, image_bytes_ = 0;
};

// A host thread's turn at the memory.
class HostTurn {
 public:
  explicit HostTurn(Checker& checker);
  ~HostTurn();
  HostTurn(const HostTurn&) = delete;
  HostTurn& operator=(const HostTurn&) = delete;

 private:
  Checker& checker_;
};

inline Checker& checker_of(const Thread& self) { return *machine_of(self).checker; }
inline CheckedBlock& checked_of(const Thread& self) { return *self.warp->block->checked; }

// `record` is before what `self` does now.
[[nodiscard]] bool is_before(const Record& record, const Thread& self);
// What `self` can release: all that it has before it, its own past included.
[[nodiscard]] AcquiredPointer release_view(const Thread& self);
[[nodiscard]] AcquiredPointer unite(const AcquiredPointer& a, const AcquiredPointer& b);

void log_access(Thread& self, Traffic traffic, std::uintptr_t address, std::size_t bytes, std::uint32_t allocation,
                std::int32_t site);

}  // namespace simt
