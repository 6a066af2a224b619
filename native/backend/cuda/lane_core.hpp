// What the ops of a lane issue through: the place where the lane works now, its staging and scratch, and the results that
// wait for the device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>

#include "backend/cuda/events.hpp"
#include "backend/cuda/kernel_library.hpp"
#include "backend/cuda/launch_list.hpp"
#include "backend/cuda/partition.hpp"
#include "backend/cuda/prompt_graphs.hpp"
#include "backend/cuda/staging.hpp"

namespace splitwiser::cuda {

// Device memory of one lane that grows in place: what was launched with its address stays right.
class Scratch {
 public:
  Scratch(std::shared_ptr<const Device> device, const char* what);
  [[nodiscard]] std::byte* data() const { return memory_.data(); }
  [[nodiscard]] std::size_t bytes() const { return memory_.mapped(); }
  void grow(std::size_t bytes) { memory_.grow(bytes); }

 private:
  DeviceMemory memory_;
};

class LaneCore {
 public:
  LaneCore(std::shared_ptr<Context> primary, const KernelLibrary& kernels);
  ~LaneCore();
  LaneCore(const LaneCore&) = delete;
  LaneCore& operator=(const LaneCore&) = delete;

  [[nodiscard]] const Device& device() const { return primary_->device(); }
  [[nodiscard]] const std::shared_ptr<const Device>& shared_device() const { return primary_->device_pointer(); }
  [[nodiscard]] const Driver& driver() const { return device().driver(); }

  // ---- where ------------------------------------------------------------------------------------
  // The lane works at `place` from here on, after all that it issued elsewhere; the place's context becomes current in the
  // calling thread.
  void enter(const LanePlace& place);
  // No context of the lane is current any more.
  void leave() noexcept;
  // Waits for all work and forgets the place, whose partition is about to go.
  void reset();
  [[nodiscard]] bool entered() const { return current_; }
  [[nodiscard]] const LanePlace& place() const { return place_; }
  [[nodiscard]] const DeviceShape& shape() const { return place_.shape; }

  // ---- work -------------------------------------------------------------------------------------
  template <typename Params>
  void launch(const LaunchPlan& plan, const Params& params) {
    static_assert(std::is_trivially_copyable_v<Params>);
    if (plan.grid == 0) return;
    if (rehearsal_) {
      rehearsal_->add(plan, &params, sizeof(Params));
    } else if (collecting_) {
      collected_.add(plan, &params, sizeof(Params));
    } else {
      launch_now(plan, &params, sizeof(Params));
    }
  }
  void launch_now(const LaunchPlan& plan, const void* params, std::size_t bytes);
  // Launches wait from here on for whatever else is issued, an event at the latest, and are issued together then: as a graph
  // where the same ones came before.
  void collect(bool on) { collecting_ = on; }
  // What `work` would launch is only noted.
  template <typename Work>
  [[nodiscard]] LaunchList rehearse(const Work& work) {
    rehearsal_.emplace();
    rehearsed_partials_ = 0;
    try {
      work();
    } catch (...) {
      rehearsal_.reset();
      throw;
    }
    LaunchList launches = std::move(*rehearsal_);
    rehearsal_.reset();
    return launches;
  }
  // What `work` launches becomes a graph instead, ready to be launched at this place.
  template <typename Work>
  [[nodiscard]] CUgraphExec capture(const Work& work) {
    begin_capture();
    try {
      work();
    } catch (...) {
      drop_capture();
      throw;
    }
    return end_capture();
  }
  // To issue in.
  [[nodiscard]] Stream& stream();
  // Copies a block of staging to its place on the device.
  void send(const Staging::Block& block);
  void copy_in(void* to, const std::byte* from, std::size_t bytes);
  void copy_out(std::byte* to, const void* from, std::size_t bytes);

  // ---- events and results ---------------------------------------------------------------------
  // The last one again where nothing was issued since.
  [[nodiscard]] std::shared_ptr<CudaEvent> record();
  void wait(const CudaEvent& event);
  // The calling thread sleeps until the event; results that were issued before it are handed over.
  void synchronize(const CudaEvent& event);
  // `hand_over` runs in synchronize() of the next event or a later one.
  void when_done(std::function<void()> hand_over);
  // Pinned room of that many bytes for what is read back; valid until its hand-over has run.
  [[nodiscard]] std::byte* read_room(std::size_t bytes);

  // ---- steps ------------------------------------------------------------------------------------
  // Staging of its own for what comes next; what the step that used it before has left is handed over first.
  void next_slot();
  void end_steps() noexcept;

  [[nodiscard]] Staging& staging() { return staging_; }
  // At least that many bytes of scratch; every use in the lane follows the one before.
  [[nodiscard]] std::byte* partials(std::size_t bytes);
  // What the last rehearsal would have asked of partials(), which did not grow then.
  [[nodiscard]] std::size_t rehearsed_partials() const { return rehearsed_partials_; }
  [[nodiscard]] std::byte* arrivals(std::size_t bytes);  // zero where kernels leave zeros
  [[nodiscard]] std::byte* sample_scratch(std::size_t bytes);
  [[nodiscard]] std::byte* sample_scan(std::size_t bytes);

 private:
  struct Result {
    std::uint64_t mark;
    std::function<void()> hand_over;
  };

  void issue_collected();
  void close_slot();
  void begin_capture();
  void drop_capture() noexcept;
  [[nodiscard]] CUgraphExec end_capture();

  std::shared_ptr<Context> primary_;
  const KernelLibrary& kernels_;
  bool capturing_ = false;
  bool after_kernel_ = false;  // what was issued last is a kernel
  bool collecting_ = false;
  LaunchList collected_;
  PromptGraphs prompt_graphs_;
  std::optional<LaunchList> rehearsal_;
  std::size_t rehearsed_partials_ = 0;
  LanePlace place_;
  bool current_ = false;
  std::uint64_t marks_ = 0;
  bool issued_ = false;      // something, since the last event
  std::shared_ptr<CudaEvent> last_;
  std::deque<Result> results_;
  Staging staging_;
  bool slot_open_ = false;  // something may have been taken of it since its event
  std::array<std::shared_ptr<CudaEvent>, Staging::kSlots> slot_done_;
  PinnedMemory reads_;
  std::size_t reads_used_ = 0;
  Scratch partials_;
  Scratch arrivals_;
  Scratch sample_scratch_;
  Scratch sample_scan_;
};

}  // namespace splitwiser::cuda
