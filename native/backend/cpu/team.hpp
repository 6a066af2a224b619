// The threads of the CPU backend: two lanes over one set of cores.
//
// A worker thread sits on every core. The thread that calls into a lane is the lane's leader and works on
// the lane's first core while in a step; the worker of that core then stays away. Workers serve their home
// lane; while it is between steps they help the other one. With Partition::none both lanes use all cores and
// take turns (Turnstile).
//
// A parallel region: the leader publishes (function, context, chunks) in its lane's slot and opens it, whoever
// comes claims chunks from a counter, the leader closes it and waits until everyone who came has left. Chunks
// write disjoint outputs, so who computes them changes nothing.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "backend/backend.hpp"
#include "backend/cpu/turnstile.hpp"
#include "platform/affinity.hpp"
#include "platform/memory.hpp"

namespace splitwiser::cpu {

class Team {
 public:
  // threads >= 1. Throws device_unavailable when the system gives no more threads.
  explicit Team(int threads);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  [[nodiscard]] int threads() const { return threads_; }
  // Only while both lanes are between steps. Throws invalid_option for a share outside (0, 1).
  Partition configure(const PartitionRequest& request);
  [[nodiscard]] LaneInfo info(Phase phase) const;

  void begin_step(Phase phase);
  void yield_point(Phase phase);
  void end_step(Phase phase);

  // Calls body(chunk, scratch) for every chunk in [0, chunks), in any order, on any of the lane's threads;
  // returns when all are done. Outside a step the caller works alone. Rethrows the first exception.
  template <typename Body>
  void parallel(Phase phase, std::int64_t chunks, const Body& body) {
    run(phase, chunks,
        [](const void* context, std::int64_t chunk, float* scratch) {
          (*static_cast<const Body*>(context))(chunk, scratch);
        },
        &body);
  }

 private:
  using Chunk = void (*)(const void* context, std::int64_t chunk, float* scratch);
  static constexpr int kNoLane = -1;
  static constexpr std::size_t kLine = 64;  // threads must not share cache lines that they write

  struct alignas(kLine) Slot {
    // Written by the leader while the slot is closed and empty.
    Chunk chunk = nullptr;
    const void* context = nullptr;
    std::int64_t chunks = 0;
    std::exception_ptr error;
    std::mutex error_mutex;
    MemoryRegion scratch;  // the leader's
    std::optional<ScopedPin> pin;

    alignas(kLine) std::atomic<std::uint64_t> generation{0};  // odd: open
    std::atomic<bool> in_step{false};
    alignas(kLine) std::atomic<std::int64_t> next{0};
    alignas(kLine) std::atomic<int> participants{0};
  };

  struct alignas(kLine) Worker {
    std::thread thread;
    MemoryRegion scratch;
    std::mutex mutex;
    std::condition_variable condition;
    bool woken = false;  // under mutex
    std::atomic<bool> asleep{false};
    std::atomic<int> working_for{kNoLane};
    std::array<std::uint64_t, kPhases> joined{};  // the worker's own: last generation that it took part in
  };

  void run(Phase phase, std::int64_t chunks, Chunk chunk, const void* context);
  void work(Slot& slot, float* scratch, int index, int lane);
  void worker_loop(int index);
  bool help(int index, int lane);
  void sleep(int index);
  void wake(int lane);
  void stop();

  [[nodiscard]] int home_of(int index, int split) const;
  [[nodiscard]] int leader_core(int lane, int split) const;
  [[nodiscard]] bool serves(int index, int lane) const;
  [[nodiscard]] bool has_work(int index) const;

  int threads_;
  std::vector<int> processors_;          // of worker i; empty: not pinned
  std::atomic<int> split_{0};            // cores of the prefill lane; 0: all cores for both, in turns
  double prefill_share_ = 0.5;
  std::atomic<bool> stopping_{false};
  Turnstile turnstile_;
  std::array<Slot, kPhases> slots_;
  std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace splitwiser::cpu
