#include "backend/cpu/team.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <system_error>
#include <utility>

#include "backend/cpu/kernels.hpp"
#include "platform/clock.hpp"
#include "support/error.hpp"

#if defined(SPLITWISER_X86)
#include <immintrin.h>
#endif

namespace splitwiser::cpu {
namespace {

// A worker without work spins this long, for the next region of a step is near; then it sleeps.
constexpr std::int64_t kSpinNs = 75'000;
constexpr int kSpinsPerLook = 32;    // pauses between two looks at the clock
constexpr int kSpinsBeforeYield = 2000;

void pause() {
#if defined(SPLITWISER_X86)
  _mm_pause();
#elif defined(SPLITWISER_ARM) && (defined(__GNUC__) || defined(__clang__))
  __asm__ volatile("yield");
#endif
}

float* floats(const MemoryRegion& region) { return reinterpret_cast<float*>(region.data()); }

}  // namespace

Team::Team(int threads) : threads_(threads) {
  for (Slot& slot : slots_) slot.scratch = MemoryRegion(kScratchBytes, "the CPU backend's scratch");
  if (threads_ > 1) {
    processors_ = allowed_processors().processors;
    if (processors_.size() < std::size_t(threads_)) processors_.clear();
    processors_.resize(processors_.empty() ? 0 : std::size_t(threads_));
    try {
      for (int i = 0; i < threads_; ++i) {
        workers_.push_back(std::make_unique<Worker>());
        workers_.back()->scratch = MemoryRegion(kScratchBytes, "the CPU backend's scratch");
      }
      for (int i = 0; i < threads_; ++i) {
        workers_[std::size_t(i)]->thread = std::thread([this, i] { worker_loop(i); });
      }
    } catch (const std::system_error& error) {
      stop();
      throw Error(ErrorCode::device_unavailable, "cannot start " + std::to_string(threads_) + " threads (" +
                                                     error.what() + "). Ask for fewer (option threads)");
    }
  }
  configure({});
}

Team::~Team() { stop(); }

void Team::stop() {
  stopping_.store(true);
  for (const auto& worker : workers_) {
    {
      const std::lock_guard lock(worker->mutex);
      worker->woken = true;
    }
    worker->condition.notify_one();
  }
  for (const auto& worker : workers_) {
    if (worker->thread.joinable()) worker->thread.join();
  }
}

Partition Team::configure(const PartitionRequest& request) {
  const double share = request.prefill_share.value_or(0.5);
  if (!(share > 0 && share < 1)) {
    throw Error(ErrorCode::invalid_option,
                "prefillShare: expected a number between 0 and 1, both exclusive, got " + std::to_string(share));
  }
  if (request.kind && *request.kind != Partition::none && *request.kind != Partition::cores) {
    throw Error(ErrorCode::device_unavailable, std::string("partition \"") + name_of(*request.kind) +
                                                   "\" divides a CUDA device: on a CPU use \"cores\" or \"none\"");
  }
  prefill_share_ = share;
  turnstile_.set_shares(share, 1 - share);
  if (threads_ < 2 || request.kind == Partition::none) {
    split_.store(0);
    return Partition::none;
  }
  split_.store(std::clamp(int(std::lround(share * threads_)), 1, threads_ - 1));
  return Partition::cores;
}

LaneInfo Team::info(Phase phase) const {
  const int split = split_.load();
  const bool prefill = phase == Phase::prefill;
  if (split == 0) return {0, prefill ? prefill_share_ : 1 - prefill_share_};
  const int cores = prefill ? split : threads_ - split;
  return {cores, double(cores) / threads_};
}

// ---- who works for whom ----------------------------------------------------------------------

int Team::home_of(int index, int split) const { return int(index < split ? Phase::prefill : Phase::decode); }

int Team::leader_core(int lane, int split) const { return lane == int(Phase::prefill) ? 0 : split; }

bool Team::serves(int index, int lane) const {
  const int split = split_.load();
  if (!slots_[std::size_t(lane)].in_step.load()) return false;
  if (split == 0) return index != 0;  // both leaders work on core 0, in turns
  const int home = home_of(index, split);
  if (lane == home) return index != leader_core(lane, split);
  return !slots_[std::size_t(home)].in_step.load();
}

bool Team::has_work(int index) const {
  const Worker& worker = *workers_[std::size_t(index)];
  for (int lane = 0; lane < kPhases; ++lane) {
    const std::uint64_t generation = slots_[std::size_t(lane)].generation.load();
    if (generation % 2 == 1 && generation != worker.joined[std::size_t(lane)] && serves(index, lane)) return true;
  }
  return false;
}

// ---- steps -----------------------------------------------------------------------------------

void Team::begin_step(Phase phase) {
  const int lane = int(phase);
  Slot& slot = slots_[std::size_t(lane)];
  const int split = split_.load();
  if (split == 0) turnstile_.enter(phase);
  slot.in_step.store(true);
  if (workers_.empty()) return;
  const int core = leader_core(lane, split);
  if (split != 0) {
    // The worker of this core may be in the middle of a chunk for the other lane, which waits for it: let
    // it finish (it takes no further chunk), or both would share the core for a scheduler's time slice.
    while (workers_[std::size_t(core)]->working_for.load() != kNoLane) std::this_thread::yield();
  }
  if (!processors_.empty()) slot.pin.emplace(processors_[std::size_t(core)]);
  wake(lane);
}

void Team::yield_point(Phase phase) {
  if (split_.load() == 0 && slots_[std::size_t(phase)].in_step.load()) turnstile_.yield(phase);
}

void Team::end_step(Phase phase) {
  Slot& slot = slots_[std::size_t(phase)];
  slot.in_step.store(false);
  slot.pin.reset();
  if (split_.load() == 0) turnstile_.leave(phase);
}

// ---- regions ---------------------------------------------------------------------------------

void Team::work(Slot& slot, float* scratch, int index, int lane) {
  for (;;) {
    // A helper goes home between chunks when its own lane begins a step.
    if (index >= 0 && !serves(index, lane)) return;
    const std::int64_t chunk = slot.next.fetch_add(1, std::memory_order_relaxed);
    if (chunk >= slot.chunks) return;
    try {
      slot.chunk(slot.context, chunk, scratch);
    } catch (...) {
      const std::lock_guard lock(slot.error_mutex);
      if (!slot.error) slot.error = std::current_exception();
    }
  }
}

void Team::run(Phase phase, std::int64_t chunks, Chunk chunk, const void* context) {
  const int lane = int(phase);
  Slot& slot = slots_[std::size_t(lane)];
  if (chunks <= 1 || workers_.empty() || !slot.in_step.load(std::memory_order_relaxed)) {
    for (std::int64_t i = 0; i < chunks; ++i) chunk(context, i, floats(slot.scratch));
    return;
  }
  slot.chunk = chunk;
  slot.context = context;
  slot.chunks = chunks;
  slot.next.store(0, std::memory_order_relaxed);
  const std::uint64_t open = slot.generation.load(std::memory_order_relaxed) + 1;
  // Sequentially consistent from here on: a worker counts itself in and then looks whether the slot is still
  // open; the leader closes and then looks whether anyone is in. One of them sees the other.
  slot.generation.store(open);
  wake(lane);
  work(slot, floats(slot.scratch), -1, lane);
  slot.generation.store(open + 1);
  for (int spins = 0; slot.participants.load() != 0; ++spins) {
    if (spins < kSpinsBeforeYield) {
      pause();
    } else {
      std::this_thread::yield();
    }
  }
  if (slot.error) std::rethrow_exception(std::exchange(slot.error, nullptr));
}

bool Team::help(int index, int lane) {
  Worker& worker = *workers_[std::size_t(index)];
  Slot& slot = slots_[std::size_t(lane)];
  const std::uint64_t seen = slot.generation.load();
  if (seen % 2 == 0 || seen == worker.joined[std::size_t(lane)]) return false;
  bool worked = false;
  worker.working_for.store(lane);
  slot.participants.fetch_add(1);
  const std::uint64_t generation = slot.generation.load();
  if (generation % 2 == 1 && serves(index, lane)) {
    worker.joined[std::size_t(lane)] = generation;
    work(slot, floats(worker.scratch), index, lane);
    worked = true;
  }
  slot.participants.fetch_sub(1);
  worker.working_for.store(kNoLane);
  return worked;
}

// ---- workers ---------------------------------------------------------------------------------

void Team::worker_loop(int index) {
  if (!processors_.empty()) pin_this_thread(processors_[std::size_t(index)]);
  std::int64_t idle_since = 0;  // 0: not idle
  while (!stopping_.load()) {
    const int home = home_of(index, split_.load());
    bool worked = false;
    bool needed = false;
    for (const int lane : {home, 1 - home}) {
      if (!serves(index, lane)) continue;
      needed = true;
      worked = help(index, lane) || worked;
    }
    if (worked) {
      idle_since = 0;
      continue;
    }
    if (needed) {
      const std::int64_t now = monotonic_ns();
      if (idle_since == 0) idle_since = now;
      if (now - idle_since < kSpinNs) {
        for (int i = 0; i < kSpinsPerLook && !has_work(index); ++i) pause();
        continue;
      }
    }
    sleep(index);
    idle_since = 0;
  }
}

void Team::sleep(int index) {
  Worker& worker = *workers_[std::size_t(index)];
  std::unique_lock lock(worker.mutex);
  worker.asleep.store(true);
  // A region that was opened before the leader could see this worker asleep.
  if (!has_work(index)) worker.condition.wait(lock, [&] { return worker.woken || stopping_.load(); });
  worker.woken = false;
  worker.asleep.store(false);
}

void Team::wake(int lane) {
  for (int index = 0; index < threads_; ++index) {
    Worker& worker = *workers_[std::size_t(index)];
    if (!worker.asleep.load() || !serves(index, lane)) continue;
    {
      const std::lock_guard lock(worker.mutex);
      worker.woken = true;
    }
    worker.condition.notify_one();
  }
}

}  // namespace splitwiser::cpu
