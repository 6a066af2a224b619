#include "backend/cuda/lane.hpp"

namespace splitwiser::cuda {
namespace {

// Enqueued work cannot be called back: what a prompt has enqueued is what a decode step may have to wait for, and what an
// abort has to sit out. So a prompt goes in groups of about a millisecond, two of them enqueued at most.
constexpr std::size_t kMostGroups = 2;

}  // namespace

// The other lane's share while it works too, else the whole device. Seen from two threads: a lane that begins just now may
// overlap the other one until that one's next yield_point or step.
const LanePlace& CudaLane::choose_place() const {
  const PartitionSet& set = pair_.partition;
  const bool other_works = pair_.busy[std::size_t(1 - int(phase_))];
  if (set.splits.empty() || !other_works) return set.whole[std::size_t(phase_)];
  return set.splits[set.active].places[std::size_t(phase_)];
}

void CudaLane::require_begun() const {
  if (failure_) std::rethrow_exception(failure_);
}

void CudaLane::begin_step() {
  failure_ = nullptr;
  pair_.busy[std::size_t(phase_)] = true;
  try {
    core_.device().require_alive();
    uploader_.finish();
    core_.enter(choose_place());
    core_.next_slot();
    ops_.begin_step();
  } catch (...) {
    failure_ = std::current_exception();
  }
}

void CudaLane::end_step() {
  core_.end_steps();
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
  core_.enter(choose_place());
  core_.next_slot();
  ops_.begin_step();
  if (graphs_.run(step)) return;
  graphs_.forget();
  if (step.input.rows() > graphs_.most_drawn()) {
    throw Error(ErrorCode::internal, "a decode step has more rows than can be handed on, or the lane was not prepared");
  }
  struct DrawnScope {
    CudaOps& ops;
    ~DrawnScope() { ops.use_drawn(nullptr); }
  } scope{ops_};
  ops_.use_drawn(graphs_.drawn());
  program_(step.input, step.samples, step.results);
}

void CudaLane::yield_point() {
  if (ops_.in_graph()) return;
  require_begun();
  if (phase_ == Phase::prefill) end_group();
  core_.enter(choose_place());
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
  graphs_.clear();
  core_.reset();
}

}  // namespace splitwiser::cuda
