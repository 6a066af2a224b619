// A lane of the GPU: chooses its place for each step, issues through its ops, keeps prompts in short groups.
#pragma once

#include <array>
#include <atomic>
#include <deque>
#include <exception>
#include <memory>

#include "backend/backend.hpp"
#include "backend/cuda/decode_graphs.hpp"
#include "backend/cuda/lane_core.hpp"
#include "backend/cuda/ops.hpp"
#include "backend/cuda/partition.hpp"
#include "backend/cuda/upload.hpp"

namespace splitwiser::cuda {

// What both lanes look at. The partition changes only while both are between steps.
struct LanePair {
  PartitionSet partition;
  std::array<std::atomic<bool>, kPhases> busy{};
  std::array<std::atomic<bool>, kPhases> spread{};      // work that went to the whole device may not be done
  std::array<std::atomic<bool>, kPhases> shared_sms{};  // of the lane's own share, since it was last asked
  double group_seconds = 1e-3;
  std::int64_t max_tokens = 0;  // of a sequence: what the KV pool holds; 0: there is no pool yet
  int page_size = 0;
};

class CudaLane final : public Lane {
 public:
  CudaLane(Phase phase, LanePair& pair, const std::shared_ptr<Context>& primary, const KernelLibrary& kernels,
           Uploader& uploader)
      : phase_(phase), pair_(pair), uploader_(uploader), core_(primary, kernels), ops_(core_, phase == Phase::prefill),
        graphs_(core_, ops_) {}

  [[nodiscard]] Ops& ops() override {
    require_begun();
    return ops_;
  }
  // Does not throw: what fails is thrown by what is asked of the lane next.
  void begin_step() override;
  void end_step() override;
  void prepare_decode(DecodeProgram program, std::int64_t max_rows) override;
  void decode(const DecodeStep& step) override;
  void yield_point() override;
  [[nodiscard]] std::shared_ptr<Event> record() override {
    require_begun();
    return core_.record();
  }
  void wait(const std::shared_ptr<Event>& event) override;
  void synchronize(const Event& event) override;
  [[nodiscard]] LaneInfo info() const override;
  [[nodiscard]] bool take_shared_sms() override { return pair_.shared_sms[std::size_t(phase_)].exchange(false); }

  // The partition is about to go.
  void reset();

 private:
  void take_place();
  void require_begun() const;
  void end_group();

  Phase phase_;
  LanePair& pair_;
  Uploader& uploader_;
  LaneCore core_;
  CudaOps ops_;
  DecodeGraphs graphs_;
  std::exception_ptr failure_;                      // of begin_step()
  double group_seconds_ = 0;                        // predicted, of what was issued since the last group's end
  std::deque<std::shared_ptr<CudaEvent>> groups_;   // ends of groups that may not be done
  std::shared_ptr<CudaEvent> spread_end_;           // of the last work that went to the whole device, after a move
};

}  // namespace splitwiser::cuda
