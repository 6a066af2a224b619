#include "simt/worker.hpp"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <cstring>

#include "simt/check.hpp"
#include "simt/collectives.hpp"
#include "simt/machine_impl.hpp"
#include "simt/text.hpp"

namespace simt {

__thread ThreadView* current_view = nullptr;

namespace {
// Beyond both ends of a block's shared memory, to see what runs over (the checked tier sees the access itself).
constexpr std::size_t kCanaryBytes = 256;
constexpr char kCanary = '\x5c';
}  // namespace

Worker::Worker(Machine::Impl& of, int index, std::uint64_t seed)
    : random(seed), machine(of), index_(index), window_(static_cast<std::uint32_t>(of.options.live_blocks)) {}

Worker::~Worker() {
  if (thread_.joinable()) thread_.join();
}

// ---- which lane next ----------------------------------------------------------------------------

void Worker::set_ready(Block& block) {
  block.ready_slot = static_cast<std::int32_t>(ready_.size());
  ready_.push_back(&block);
}

void Worker::set_unready(Block& block) {
  if (block.ready_slot < 0) return;
  ready_.back()->ready_slot = block.ready_slot;
  ready_[static_cast<std::size_t>(block.ready_slot)] = ready_.back();
  ready_.pop_back();
  block.ready_slot = -1;
}

void Worker::make_ready(Warp& warp, std::uint32_t lanes) {
  if (lanes == 0) return;
  warp.ready |= lanes;
  Block& block = *warp.block;
  block.ready_warps |= 1u << warp.index;
  if (block.ready_slot < 0) set_ready(block);
}

// Stays in the warp for a random number of lanes, then any warp of any block may come. Null: the loop's turn.
Thread* Worker::pick() {
  if (warp_ == nullptr || warp_->ready == 0 || --fuel_ == 0) {
    if (ready_.empty() || attention.load(std::memory_order_relaxed)) return nullptr;
    const std::uint32_t draw = random.next();
    // Long stretches let one warp run far ahead of its neighbours, short ones mix them finely.
    fuel_ = (draw & 7u) == 0 ? 1 + (draw >> 8) % 4096 : 1 + (draw >> 8) % 96;
    Block* block = warp_ != nullptr && warp_->block->ready_warps != 0 && (draw & 0x38u) != 0
                       ? warp_->block
                       : ready_[random.below(static_cast<std::uint32_t>(ready_.size()))];
    const int turn = static_cast<int>(random.next() >> 27);
    const int index = (std::countr_zero(std::rotr(block->ready_warps, turn)) + turn) & 31;
    warp_ = &block->warps[static_cast<std::size_t>(index)];
  }
  Warp& warp = *warp_;
  const auto choose = [&warp](int turn) { return (std::countr_zero(std::rotr(warp.ready, turn)) + turn) & 31; };
  const int lane = choose(turn_);
  turn_ = static_cast<int>(random.next() >> 27);
  warp.ready &= ~(1u << lane);
  if (warp.ready == 0) {
    Block& block = *warp.block;
    block.ready_warps &= ~(1u << warp.index);
    if (block.ready_warps == 0) set_unready(block);
  } else {
    // Hundreds of fibers' frames do not fit the nearest cache: the next one's are fetched while this one runs.
    const int after = choose(turn_);
    const char* frames = static_cast<const char*>(warp.stack_pointer[static_cast<unsigned>(after)]);
    __builtin_prefetch(warp.threads + after);
    for (int line = 0; line < 5; ++line) __builtin_prefetch(frames + line * 64);
  }
  return warp.threads + lane;
}

void Worker::switch_to(Thread& self, Thread* next) {
  if (next == &self) return;
  current_view = next;
  simt_switch(&stack_of(self), next != nullptr ? stack_of(*next) : scheduler_);
}

void Worker::wait_here(Thread& self) {
  Block& block = *self.warp->block;
  const char* frame = static_cast<const char*>(__builtin_frame_address(0));
  if (frame < self.stack + kStackReserve) [[unlikely]] report_stack(self);
  if (block.ready_warps == 0) report_deadlock(self);
  switch_to(self, pick());
}

void Worker::give_way(Thread& self) {
  make_ready(*self.warp, 1u << self.lane);
  fuel_ = 1;
  switch_to(self, pick());
}

void Worker::spin(Thread& self) {
  make_ready(*self.warp, 1u << self.lane);
  fuel_ = 1;
  ++self.warp->block->spins;
  if ((++spins & 255u) != 0) {
    switch_to(self, pick());
    return;
  }
  if (spins > machine.options.spin_limit) {
    // Another worker's blocks may still be at it.
    const std::uint64_t progress = machine.progress.load(std::memory_order_relaxed);
    if (progress == progress_) report_spinning(self);
    progress_ = progress;
    spins = 0;
  }
  switch_to(self, nullptr);  // the loop may start more blocks
}

void Worker::leave() {
  void* nowhere;
  current_view = nullptr;
  simt_switch(&nowhere, scheduler_);
  __builtin_unreachable();
}

// ---- blocks -------------------------------------------------------------------------------------

void Worker::enter_fiber() {
  Thread& self = running();
  Block& block = *self.warp->block;
  Worker& worker = *block.worker;
  block.grid->launch.kernel->run(block.grid->params.get());
  std::uint64_t canary;
  std::memcpy(&canary, self.stack, sizeof canary);
  if (canary != StackPool::kCanary) [[unlikely]] report_stack(self);
  thread_ends(self);
  worker.spins = 0;
  if (block.live == 0) {
    worker.set_unready(block);
    worker.ended_.push_back(&block);
    worker.leave();
  }
  if (block.ready_warps == 0) report_deadlock(self);
  Thread* next = worker.pick();
  if (next == nullptr) worker.leave();
  current_view = next;
  simt_switch(&stack_of(self), stack_of(*next));
  __builtin_unreachable();
}

void Worker::start_block(Grid& grid, std::uint32_t index, int sm) {
  const GridLaunch& launch = grid.launch;
  if (pool_.empty()) pool_.push_back(std::make_unique<Block>());
  Block& block = *pool_.back().release();
  pool_.pop_back();
  block.grid = &grid;
  block.worker = this;
  block.index = index;
  block.sm = sm;
  block.block_idx = {index, 0, 0};
  block.block_dim = dim3(launch.block);
  block.grid_dim = dim3(launch.grid);
  block.thread_count = block.live = launch.block;
  block.exited = block.ready_warps = 0;
  block.ready_slot = -1;
  block.barrier_arrived = block.barrier_true = 0;
  block.killed = false;
  block.spins = 0;
  block.counters = {};
  block.counters.blocks = 1;
  block.shared_bytes = launch.shared_bytes;
  block.shared_storage.resize(launch.shared_bytes + 2 * kCanaryBytes + 128);
  const auto raw = reinterpret_cast<std::uintptr_t>(block.shared_storage.data()) + kCanaryBytes;
  block.shared = reinterpret_cast<char*>((raw + 127) / 128 * 128);
  std::memset(block.shared, 0xff, launch.shared_bytes);
  std::memset(block.shared - kCanaryBytes, kCanary, kCanaryBytes);
  std::memset(block.shared + launch.shared_bytes, kCanary, kCanaryBytes);

  const std::uint32_t warps = (launch.block + 31) / 32;
  if (block.threads.size() < launch.block) block.threads.resize(launch.block);
  if (block.warps.size() < warps) block.warps.resize(warps);
  block.stacks.clear();
  static_cast<void>(stacks.take(launch.block, block.stacks));  // take_blocks() has asked
  for (std::uint32_t w = 0; w < warps; ++w) {
    Warp& warp = block.warps[w];
    warp.block = &block;
    warp.threads = &block.threads[w * 32];
    warp.index = w;
    const std::uint32_t lanes = std::min(launch.block - w * 32, 32u);
    warp.members = lanes == 32 ? ~0u : (1u << lanes) - 1;
    warp.ready = warp.exited = warp.at_barrier = warp.gatherings = 0;
  }
  for (std::uint32_t i = 0; i < launch.block; ++i) {
    Thread& thread = block.threads[i];
    thread.thread_idx = {i, 0, 0};
    thread.block = &block;
    thread.warp = &block.warps[i / 32];
    thread.lane = i % 32;
    thread.index = i;
    thread.at = Meeting::none;
    thread.copies.clear();
    thread.groups.clear();
    thread.accesses = 0;
    thread.stack = block.stacks[i];
    // Tops lie at different places of a page, or all the hot frames would share a few cache sets.
    stack_of(thread) = prepare_fiber(thread.stack + stacks.stack_bytes() - (i % 32) * 128, &Worker::enter_fiber);
  }
  if (machine.checker != nullptr) {
    begin_fibers(*machine.checker);
    check_block_starts(block);
    end_fibers(*machine.checker);
  }
  live_.push_back(&block);
  for (std::uint32_t w = 0; w < warps; ++w) make_ready(block.warps[w], block.warps[w].members);
}

void Worker::finish_block(Block& block) {
  set_unready(block);
  if (warp_ != nullptr && warp_->block == &block) warp_ = nullptr;
  Grid& grid = *block.grid;
  const auto broken = [](const char* from) {
    return std::any_of(from, from + kCanaryBytes, [](char byte) { return byte != kCanary; });
  };
  if (broken(block.shared - kCanaryBytes) || broken(block.shared + block.shared_bytes)) {
    machine.report(FindingKind::shared_overflow,
                   {grid.launch.kernel->name, grid.token, block.index, -1, nullptr},
                   join("block ", block.index, " wrote outside its ", block.shared_bytes, " bytes of shared memory"));
  }
  if (machine.checker != nullptr) {
    begin_fibers(*machine.checker);
    check_block_ends(block);
    end_fibers(*machine.checker);
  }
  stacks.give(block.stacks);
  live_.erase(std::ranges::find(live_, &block));
}

// ---- the loop -----------------------------------------------------------------------------------

void Worker::run() {
  // A handler would run on a fiber's small stack.
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  std::vector<std::shared_ptr<Grid>> done;
  while (true) {
    // What ended or must end, with what it held.
    for (Block* block : std::vector<Block*>(live_)) {
      if (block->grid->killed && std::ranges::find(ended_, block) == ended_.end()) ended_.push_back(block);
    }
    if (!ended_.empty()) window_ = static_cast<std::uint32_t>(machine.options.live_blocks);
    for (Block* block : ended_) finish_block(*block);

    std::unique_lock lock(machine.mutex);
    attention.store(false, std::memory_order_relaxed);
    for (Block* block : ended_) {
      Grid& grid = *block->grid;
      grid.counters.add(block->counters);
      ++grid.finished;
      --grid.running;
      grid.last_tick = machine.ticks.fetch_add(1);
      machine.release(grid, block->sm);
      pool_.emplace_back(block);
    }
    // What they left room for is for all workers.
    if (!ended_.empty() && machine.workers.size() > 1) machine.work.notify_all();
    ended_.clear();
    for (std::size_t i = 0; i < machine.grids.size();) {
      const Grid& grid = *machine.grids[i];
      const bool over = grid.killed ? grid.running == 0 : grid.finished == grid.launch.grid;
      if (!over) {
        ++i;
        continue;
      }
      done.push_back(machine.grids[i]);
      machine.calling.push_back(grid.token);
      machine.grids.erase(machine.grids.begin() + static_cast<std::ptrdiff_t>(i));
    }
    if (!done.empty()) {
      for (const auto& grid : done) {
        if (machine.checker != nullptr) check_grid_ends(*grid);
        machine.totals.add(grid->counters);
        machine.by_kernel[grid->launch.kernel->name].add(grid->counters);
      }
      lock.unlock();
      for (const auto& grid : done) {
        if (grid->launch.done) {
          grid->launch.done({grid->token, grid->status, grid->message, grid->counters, grid->first_tick,
                             grid->last_tick, grid->sms_used});
        }
      }
      lock.lock();
      for (const auto& grid : done) std::erase(machine.calling, grid->token);
      done.clear();
      machine.finished.notify_all();
      machine.work.notify_all();
      continue;
    }
    if (machine.stopping) {
      if (live_.empty()) return;
      for (const auto& grid : machine.grids) machine.kill(*grid, Status::aborted, "the machine ended");
      continue;
    }
    take_blocks();
    if (ready_.empty()) {
      machine.work.wait(lock);
      continue;
    }
    lock.unlock();
    Thread* next = pick();
    if (next == nullptr) continue;
    if (machine.checker != nullptr) begin_fibers(*machine.checker);
    current_view = next;
    simt_switch(&scheduler_, stack_of(*next));
    current_view = nullptr;
    if (machine.checker != nullptr) end_fibers(*machine.checker);
  }
}

// With the machine's lock. Each grid in flight has two live blocks at least where it has any to run: a long grid keeps
// no other out. Spinning blocks make room for those that they may wait for.
void Worker::take_blocks() {
  if (spins >= 256 * window_) ++window_;
  while (true) {
    std::vector<Grid*> waiting;
    for (const auto& grid : machine.grids) {
      if (grid->killed || grid->resident.empty()) continue;
      const auto mine = std::ranges::count_if(live_, [&](const Block* block) { return block->grid == grid.get(); });
      if (live_.size() < window_ || mine < 2) waiting.push_back(grid.get());
    }
    if (waiting.empty()) return;
    Grid& grid = *waiting[random.below(static_cast<std::uint32_t>(waiting.size()))];
    if (!stacks.available(grid.launch.block)) return;
    const std::size_t which = random.below(static_cast<std::uint32_t>(grid.resident.size()));
    const Resident resident = grid.resident[which];
    grid.resident[which] = grid.resident.back();
    grid.resident.pop_back();
    ++grid.running;
    grid.sms_used.set(static_cast<std::size_t>(resident.sm));
    const std::uint64_t tick = machine.ticks.fetch_add(1);
    if (grid.first_tick == 0) grid.first_tick = tick;
    start_block(grid, resident.index, resident.sm);
  }
}

}  // namespace simt
