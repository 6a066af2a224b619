#include "simt/collectives.hpp"

#include <cstring>
#include <map>

#include "simt/text.hpp"
#include "simt/warp.hpp"

namespace simt {

const char* name_of(Meeting meeting) {
  switch (meeting) {
    case Meeting::none: return "nothing";
    case Meeting::sync_warp: return "__syncwarp";
    case Meeting::shuffle: return "a shuffle";
    case Meeting::vote: return "a vote";
    case Meeting::reduce: return "__reduce_sync";
    case Meeting::match: return "__match_sync";
    case Meeting::ldmatrix: return "ldmatrix";
    case Meeting::mma: return "mma";
    case Meeting::sync_threads: return "__syncthreads";
  }
  return "?";
}

Gathering& come(Thread& self, std::uint32_t mask, Meeting meeting, std::uint8_t variant, bool aligned,
                const void* site) {
  Warp& warp = *self.warp;
  Machine::Impl& machine = machine_of(self);
  const std::uint32_t bit = 1u << self.lane;
  if ((mask & bit) == 0) [[unlikely]] {
    machine.report(FindingKind::wrong_mask, place_of(self, site),
                   join("lane ", self.lane, " calls ", name_of(meeting), " with mask ", hex(mask),
                        ", which does not name it"));
    machine.fail(self, Status::aborted, "wrong mask");
  }
  const std::uint32_t missing = mask & (aligned ? ~warp.members | warp.exited : warp.exited);
  if (missing != 0) [[unlikely]] {
    machine.report(FindingKind::divergence, place_of(self, site),
                   join(name_of(meeting), " with mask ", hex(mask), ": the lanes ", hex(missing),
                        " have returned or do not exist"));
  }
  Gathering* found = nullptr;
  for (std::uint32_t i = 0; i < warp.gatherings; ++i) {
    Gathering& other = warp.gathering[i];
    if (other.mask == mask && other.meeting == meeting && other.variant == variant) {
      found = &other;
      continue;
    }
    // Those lanes wait for this one, and this one will wait for them.
    if ((other.mask & bit) != 0 && (mask & other.arrived) != 0) [[unlikely]] {
      const Thread& there = warp.threads[std::countr_zero(mask & other.arrived)];
      if (machine.note(FindingKind::divergence, place_of(self, site), place_of(there, other.site))) {
        machine.findings.add(FindingKind::divergence, place_of(self, site), place_of(there, other.site),
                             join("lanes of one warp wait for each other at different instructions: ",
                                  name_of(meeting), " with mask ", hex(mask), " and ", name_of(other.meeting),
                                  " with mask ", hex(other.mask)));
      }
      machine.fail(self, Status::deadlock, "lanes of one warp wait for each other at different instructions");
    }
  }
  if (found == nullptr) {
    found = &warp.gathering[warp.gatherings++];
    *found = {mask, 0, meeting, variant, site};
    return *found;
  }
  // The same place in the code: only where the compiler was kept from copying calls (checked tier, README.md).
  if (instrumented && aligned && found->site != site) [[unlikely]] {
    const Thread& there = warp.threads[std::countr_zero(found->arrived)];
    if (machine.note(FindingKind::divergence, place_of(self, site), place_of(there, found->site))) {
      machine.findings.add(FindingKind::divergence, place_of(self, site), place_of(there, found->site),
                           join(name_of(meeting), " is .aligned: all lanes of a warp must execute the same one"));
    }
  }
  return *found;
}

void close(Warp& warp, Gathering& gathering) {
  Gathering& last = warp.gathering[warp.gatherings - 1];
  if (&gathering != &last) gathering = last;
  --warp.gatherings;
}

// ---- the end of a thread ------------------------------------------------------------------------

namespace {

void complete_barrier(Block& block) {
  Worker& worker = *block.worker;
  ++block.counters.barriers;
  const auto kind = static_cast<BarrierKind>(block.barrier_kind);
  block.barrier_result = kind == BarrierKind::count         ? block.barrier_true
                         : kind == BarrierKind::conjunction ? block.barrier_true == block.barrier_arrived
                                                            : block.barrier_true != 0;
  if (block.exited != 0) {
    machine_of(block.threads[0])
        .report(FindingKind::barrier,
                {block.grid->launch.kernel->name, block.grid->token, block.index, -1, block.barrier_site},
                join("__syncthreads: ", block.exited, " of ", block.thread_count, " threads have returned before it"));
  }
  block.barrier_arrived = block.barrier_true = 0;
  if (instrumented) {
    for (std::uint32_t w = 0; w < (block.thread_count + 31) / 32; ++w) check_warp_meets(block.warps[w]);
    check_barrier(block);
  }
  for (std::uint32_t w = 0; w < (block.thread_count + 31) / 32; ++w) {
    Warp& warp = block.warps[w];
    worker.make_ready(warp, warp.at_barrier);
    warp.at_barrier = 0;
  }
  worker.spins = 0;
  worker.machine.progress.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

void thread_ends(Thread& self) {
  Warp& warp = *self.warp;
  Block& block = *warp.block;
  Machine::Impl& machine = machine_of(self);
  warp.exited |= 1u << self.lane;
  --block.live;
  ++block.exited;
  machine.progress.fetch_add(1, std::memory_order_relaxed);
  for (std::uint32_t i = 0; i < warp.gatherings; ++i) {
    const Gathering& gathering = warp.gathering[i];
    if ((gathering.mask >> self.lane & 1u) == 0) continue;
    machine.report(FindingKind::divergence, place_of(self, gathering.site),
                   join("lane ", self.lane, " returned while lanes ", hex(gathering.arrived), " wait for it at ",
                        name_of(gathering.meeting), " with mask ", hex(gathering.mask)));
    machine.fail(self, Status::deadlock, "a lane returned that others wait for");
  }
  if (instrumented && warp.exited == warp.members) check_warp_meets(warp);
  if (block.live != 0 && block.barrier_arrived == block.live) complete_barrier(block);
}

// ---- barriers -----------------------------------------------------------------------------------

int sync_threads(BarrierKind kind, bool predicate) {
  const void* site = __builtin_return_address(0);
  Thread& self = running();
  Warp& warp = *self.warp;
  Block& block = *warp.block;
  Worker& worker = *block.worker;
  if (block.barrier_arrived == 0) {
    block.barrier_kind = static_cast<std::uint32_t>(kind);
    block.barrier_site = site;
  } else if (block.barrier_kind != static_cast<std::uint32_t>(kind) ||
             (instrumented && block.barrier_site != site)) [[unlikely]] {
    Machine::Impl& machine = machine_of(self);
    const RawPlace there{block.grid->launch.kernel->name, block.grid->token, block.index, -1, block.barrier_site};
    if (machine.note(FindingKind::barrier, place_of(self, site), there)) {
      machine.findings.add(FindingKind::barrier, place_of(self, site), there,
                           "threads of one block meet at different __syncthreads");
    }
  }
  block.barrier_true += predicate ? 1 : 0;
  warp.at_barrier |= 1u << self.lane;
  if (++block.barrier_arrived == block.live) {
    warp.at_barrier &= ~(1u << self.lane);
    complete_barrier(block);
    if ((worker.random.next() & 0x30000u) != 0) worker.give_way(self);
    return static_cast<int>(block.barrier_result);
  }
  self.at = Meeting::sync_threads;
  self.at_site = site;
  worker.wait_here(self);
  self.at = Meeting::none;
  return static_cast<int>(block.barrier_result);
}

void sync_warp(std::uint32_t mask) {
  const void* site = __builtin_return_address(0);
  Thread& self = running();
  meet(self, mask, Meeting::sync_warp, 0, false, site, [&](std::uint32_t lanes) {
    ++self.warp->block->counters.warp_syncs;
    if (instrumented) check_sync_warp(*self.warp, lanes);
  });
}

// ---- deadlocks ----------------------------------------------------------------------------------

namespace {

// "threads 0 .. 31 at __syncthreads (gemm.cu:88)", a few of them.
std::string who_waits(const Block& block) {
  std::map<std::pair<Meeting, const void*>, std::pair<std::uint32_t, std::uint32_t>> groups;  // first, how many
  for (std::uint32_t i = 0; i < block.thread_count; ++i) {
    const Thread& thread = block.threads[i];
    if ((thread.warp->exited >> thread.lane & 1u) != 0) continue;
    auto [group, fresh] = groups.try_emplace({thread.at, thread.at_site}, std::pair{i, 0u});
    ++group->second.second;
  }
  std::string text;
  for (const auto& [where, who] : groups) {
    text += join(text.empty() ? "" : "; ", who.second, " threads (", who.first, ", ...) at ",
                 where.first == Meeting::none ? "a loop" : name_of(where.first));
    if (where.second != nullptr) text += join(" (", resolve(where.second), ")");
  }
  if (block.exited != 0) text += join("; ", block.exited, " threads have returned");
  return text;
}

}  // namespace

void report_deadlock(Thread& self) {
  Block& block = *self.warp->block;
  bool barrier = false;
  for (std::uint32_t w = 0; w < (block.thread_count + 31) / 32; ++w) barrier |= block.warps[w].at_barrier != 0;
  const std::string text = join("block ", block.index, ": ", who_waits(block));
  machine_of(self).report(barrier ? FindingKind::barrier : FindingKind::deadlock, place_of(self, self.at_site), text);
  machine_of(self).fail(self, Status::deadlock, "deadlock: " + text);
}

void report_stack(Thread& self) {
  const StackPool& stacks = self.warp->block->worker->stacks;
  std::memcpy(self.stack, &StackPool::kCanary, sizeof StackPool::kCanary);
  machine_of(self).report(FindingKind::other, place_of(self, self.at_site),
                          join("the thread's frames do not fit the simulated device's stack of ",
                               stacks.stack_bytes(), " bytes (fiber.hpp): a large local array?"));
  machine_of(self).fail(self, Status::aborted, "stack overflow in the simulated device");
}

void report_spinning(Thread& self) {
  Worker& worker = *self.warp->block->worker;
  Machine::Impl& machine = worker.machine;
  const std::string text = worker.who_spins();
  machine.report(FindingKind::deadlock, place_of(self, self.at_site), text);
  machine.fail(self, Status::deadlock, "deadlock: " + text);
}

std::string Worker::who_spins() const {
  std::string text = "blocks wait in loops for what nobody is left to do:";
  std::size_t told = 0;
  for (const Block* block : live_) {
    if (++told > 4) {
      text += join(" and ", live_.size() - 4, " more");
      break;
    }
    text += join(" [", block->grid->launch.kernel->name, " block ", block->index, ": ", who_waits(*block), "]");
  }
  return text;
}

}  // namespace simt
