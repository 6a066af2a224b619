#include "backend/cuda/lane.hpp"

namespace splitwiser::cuda {
namespace {

// Enqueued work cannot be called back: what a prompt has enqueued is what a decode step may have to wait for, and what an
// abort has to sit out. So a prompt goes in groups of about a millisecond, two of them enqueued at most.
constexpr std::size_t kMostGroups = 2;

}  // namespace

// The lane's share while the other one works too, else the whole device. What is on its way when the other one begins is
// not called back: until it is done, and this lane has come to its next yield_point or step, both may work on the same
// multiprocessors.
void CudaLane::take_place() {
  const PartitionSet& set = pair_.partition;
  const auto mine = std::size_t(phase_), other = 1 - mine;
  std::atomic<bool>& spread = pair_.spread[mine];
  if (set.splits.empty()) return core_.enter(set.whole[mine]);
  if (!pair_.busy[other]) {
    // Said before it is looked at once more: a lane that begins just now sees it, or is seen.
    const bool before = spread.exchange(true);
    if (!pair_.busy[other]) {
      spread_end_ = nullptr;
      return core_.enter(set.whole[mine]);
    }
    spread = before;
  }
  if (spread) {
    if (!spread_end_) spread_end_ = core_.record();
    if (spread_end_->done()) {
      spread = false;
      spread_end_ = nullptr;
    }
  }
  if (spread || pair_.spread[other]) pair_.shared_sms[mine] = pair_.shared_sms[other] = true;
  core_.enter(set.splits[set.active].places[mine]);
}

void CudaLane::require_begun() const {
  if (failure_) std::rethrow_exception(failure_);
}

void CudaLane::begin_step() {
  failure_ = nullptr;
  // Nothing of a step before is under way. The same step then ends its groups at the same layers.
  group_seconds_ = 0;
  pair_.shared_sms[std::size_t(phase_)] = false;
  pair_.busy[std::size_t(phase_)] = true;
  try {
    core_.device().require_alive();
    uploader_.finish();
    take_place();
    core_.next_slot();
    ops_.begin_step();
  } catch (...) {
    failure_ = std::current_exception();
  }
}

void CudaLane::end_step() {
  core_.end_steps();
  spread_end_ = nullptr;
  pair_.spread[std::size_t(phase_)] = false;
  pair_.busy[std::size_t(phase_)] = false;
}

void CudaLane::prepare_decode(DecodeProgram program, std::int64_t max_rows) {
  program_ = std::move(program);
  if (pair_.max_tokens == 0 || max_rows < 1) return;
  std::vector<LanePlace> places{pair_.partition.whole[std::size_t(phase_)]};
  for (const Split& split : pair_.partition.splits) places.push_back(split.places[std::size_t(phase_)]);
  struct Bracket {
    explicit Bracket(CudaLane& lane) : lane_(lane) { lane_.begin_step(); }
    ~Bracket() { lane_.end_step(); }
    CudaLane& lane_;
  } bracket(*this);
  require_begun();
  graphs_.prepare(program_, max_rows, pair_.max_tokens, pair_.page_size, places);
  core_.stream().synchronize();
}

void CudaLane::decode(const DecodeStep& step) {
  require_begun();
  // A run of steps may last: each has staging of its own, and follows the partition.
  take_place();
  core_.next_slot();
  ops_.begin_step();
  if (graphs_.run(step)) return;
  graphs_.forget();
  if (step.input.rows() > graphs_.most_drawn()) {
    throw Error(ErrorCode::internal, "a decode step has more rows than can be handed on, or the lane was not prepared");
  }
  struct DrawnScope {
    CudaOps& ops;
    ~DrawnScope() { ops.use_drawn({}); }
  } scope{ops_};
  ops_.use_drawn(graphs_.drawn());
  program_(step.input, step.samples, step.results);
}

void CudaLane::yield_point() {
  if (ops_.in_graph()) return;
  require_begun();
  if (phase_ == Phase::prefill) end_group();
  take_place();
}

void CudaLane::end_group() {
  group_seconds_ += ops_.take_cost();
  if (group_seconds_ < pair_.group_seconds) return;
  group_seconds_ = 0;
  groups_.push_back(core_.record());
  while (groups_.size() >= kMostGroups) {
    core_.synchronize(*groups_.front());
    groups_.pop_front();
  }
}

void CudaLane::wait(const std::shared_ptr<Event>& event) {
  require_begun();
  if (event) core_.wait(static_cast<const CudaEvent&>(*event));
}

void CudaLane::synchronize(const Event& event) { core_.synchronize(static_cast<const CudaEvent&>(event)); }

LaneInfo CudaLane::info() const {
  const PartitionSet& set = pair_.partition;
  const LanePlace& place =
      set.splits.empty() ? set.whole[std::size_t(phase_)] : set.splits[set.active].places[std::size_t(phase_)];
  LaneInfo info;
  info.sms = place.shape.sms;
  info.share = place.share;
  return info;
}

void CudaLane::reset() {
  groups_.clear();
  spread_end_ = nullptr;
  graphs_.clear();
  core_.reset();
}

}  // namespace splitwiser::cuda
