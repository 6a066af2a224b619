// Happens-before inside a grid: barriers, __syncwarp, acquire and release by atomics and fences.
#include <algorithm>
#include <cstring>

#include "simt/check/checker.hpp"

namespace simt {

void check_grid_starts(Machine::Impl& machine, Grid& grid) {
  machine.checker->order.enter(grid.token, grid.launch.chain, grid.launch.after);
  auto* checked = new CheckedGrid;
  checked->token = grid.token;
  checked->clock = machine.checker->order.clock_of(grid.token);
  grid.checked = checked;
}

void check_grid_ends(Grid& grid) {
  for (const auto& [id, touched] : grid.checked->touched) {
    for (const std::uint64_t word : touched.loaded) {
      grid.counters.unique_load_sectors += static_cast<std::uint64_t>(std::popcount(word));
    }
    for (const std::uint64_t word : touched.stored) {
      grid.counters.unique_store_sectors += static_cast<std::uint64_t>(std::popcount(word));
    }
  }
  delete grid.checked;
  grid.checked = nullptr;
}

void check_block_starts(Block& block) {
  Checker& checker = *block.worker->machine.checker;
  if (block.checked == nullptr) block.checked = new CheckedBlock;
  CheckedBlock& checked = *block.checked;
  checked.grid = block.grid->checked;
  checked.uid = checker.new_block_uid();
  checked.epoch = checker.new_epoch({block.grid->token, checked.uid, static_cast<std::int32_t>(block.index),
                                     block.grid->launch.kernel->name});
  checked.known.fill(0);
  checked.threads.resize(std::max(checked.threads.size(), block.threads.size()));
  for (std::uint32_t i = 0; i < block.thread_count; ++i) {
    CheckedThread& thread = checked.threads[i];
    thread.clock = 1;
    thread.acquired = thread.fenced = thread.observed = nullptr;
    thread.log.clear();
  }
  checked.warps.resize(std::max(checked.warps.size(), block.warps.size()));
  for (CheckedWarp& warp : checked.warps) warp.epoch = 0;
  const std::size_t cells = (block.shared_bytes + 3) / 4;
  checked.shared.resize(std::max(checked.shared.size(), cells));
  std::memset(static_cast<void*>(checked.shared.data()), 0, cells * sizeof(Cell));
}

void check_block_ends(Block& block) {
  for (std::uint32_t w = 0; w < (block.thread_count + 31) / 32; ++w) check_warp_meets(block.warps[w]);
}

// ---- before -------------------------------------------------------------------------------------

bool is_before(const Record& record, const Thread& self) {
  if (record.epoch == 0) return true;
  CheckedBlock& block = checked_of(self);
  const CheckedThread& me = block.threads[self.index];
  Checker& checker = checker_of(self);
  if (record.epoch == block.epoch) {
    if (record.thread == self.index) return true;
    if (record.thread / 32 == self.warp->index) {
      const CheckedWarp& warp = block.warps[self.warp->index];
      if (warp.epoch == block.epoch && warp.seen[self.lane][record.thread % 32] >= record.clock) return true;
    }
  } else {
    std::uint32_t& known = block.known[record.epoch % block.known.size()];
    if (known == record.epoch) return true;
    const EpochOwner& owner = checker.owner_of(record.epoch);
    const bool earlier = owner.block_uid == block.uid;
    if (earlier || (owner.token != block.grid->token && checker.order.covers(*block.grid->clock, owner.token))) {
      known = record.epoch;
      return true;
    }
  }
  if (me.acquired == nullptr) return false;
  const auto found = me.acquired->find(checker.owner_of(record.epoch).block_uid);
  if (found == me.acquired->end()) return false;
  const Seen& seen = found->second;
  if (record.epoch < seen.epoch) return true;
  if (record.epoch > seen.epoch) return false;
  const auto thread = seen.threads.find(record.thread);
  return thread != seen.threads.end() && thread->second >= record.clock;
}

AcquiredPointer unite(const AcquiredPointer& a, const AcquiredPointer& b) {
  if (b == nullptr || a == b) return a;
  if (a == nullptr) return b;
  auto both = std::make_shared<Acquired>(*a);
  for (const auto& [uid, seen] : *b) {
    Seen& mine = (*both)[uid];
    if (mine.epoch < seen.epoch) {
      mine = seen;
    } else if (mine.epoch == seen.epoch) {
      for (const auto& [thread, clock] : seen.threads) {
        std::uint16_t& known = mine.threads[thread];
        known = std::max(known, clock);
      }
    }
  }
  return both;
}

AcquiredPointer release_view(const Thread& self) {
  const CheckedBlock& block = checked_of(self);
  const CheckedThread& me = block.threads[self.index];
  auto view = me.acquired != nullptr ? std::make_shared<Acquired>(*me.acquired) : std::make_shared<Acquired>();
  Seen& own = (*view)[block.uid];
  if (own.epoch < block.epoch) own = {block.epoch, {}};
  own.threads[static_cast<std::uint16_t>(self.index)] = me.clock;
  const CheckedWarp& warp = block.warps[self.warp->index];
  if (warp.epoch == block.epoch) {
    for (std::uint32_t lane = 0; lane < 32; ++lane) {
      const std::uint16_t clock = warp.seen[self.lane][lane];
      if (clock == 0 || lane == self.lane) continue;
      std::uint16_t& known = own.threads[static_cast<std::uint16_t>(self.warp->index * 32 + lane)];
      known = std::max(known, clock);
    }
  }
  return view;
}

// ---- synchronisations ---------------------------------------------------------------------------

namespace {
void tick(CheckedThread& thread) {
  if (thread.clock != 0xffff) ++thread.clock;
}
}  // namespace

void check_barrier(Block& block) {
  Checker& checker = *block.worker->machine.checker;
  CheckedBlock& checked = *block.checked;
  AcquiredPointer all;
  for (std::uint32_t i = 0; i < block.thread_count; ++i) all = unite(all, checked.threads[i].acquired);
  checked.epoch = checker.new_epoch(EpochOwner(checker.owner_of(checked.epoch)));
  for (std::uint32_t i = 0; i < block.thread_count; ++i) {
    checked.threads[i].clock = 1;
    checked.threads[i].acquired = all;
  }
}

void check_sync_warp(Warp& warp, std::uint32_t lanes) {
  CheckedBlock& block = *warp.block->checked;
  CheckedWarp& checked = block.warps[warp.index];
  if (checked.epoch != block.epoch) {
    checked.epoch = block.epoch;
    checked.seen = {};
  }
  std::array<std::uint16_t, 32> joined{};
  AcquiredPointer all;
  for (std::uint32_t lane = 0; lane < 32; ++lane) {
    if ((lanes >> lane & 1u) == 0) continue;
    for (std::uint32_t other = 0; other < 32; ++other) joined[other] = std::max(joined[other], checked.seen[lane][other]);
    CheckedThread& thread = block.threads[warp.index * 32 + lane];
    joined[lane] = std::max(joined[lane], thread.clock);
    all = unite(all, thread.acquired);
  }
  for (std::uint32_t lane = 0; lane < 32; ++lane) {
    if ((lanes >> lane & 1u) == 0) continue;
    checked.seen[lane] = joined;
    CheckedThread& thread = block.threads[warp.index * 32 + lane];
    tick(thread);
    thread.acquired = all;
  }
}

// An atomic with order, or a relaxed one after a fence, releases into the word; whoever reads it by an atomic with order
// (or fences afterwards) acquires. Atomic updates of one word continue each other's release.
void check_order_by_atomic(Thread& self, std::uintptr_t at, Order order) {
  Checker& checker = checker_of(self);
  CheckedBlock& block = checked_of(self);
  CheckedThread& me = block.threads[self.index];
  auto& [token, clock] = checker.released[at];
  if (token != block.grid->token) {
    token = block.grid->token;
    clock = nullptr;
  }
  if (order == Order::acquire_release) {
    me.acquired = unite(me.acquired, clock);
    clock = unite(clock, release_view(self));
    tick(me);
  } else {
    me.observed = unite(me.observed, clock);
    clock = unite(clock, me.fenced);
  }
}

void check_fence(Thread& self) {
  CheckedThread& me = checked_of(self).threads[self.index];
  me.acquired = unite(me.acquired, me.observed);
  me.observed = nullptr;
  me.fenced = release_view(self);
  tick(me);
}

}  // namespace simt
