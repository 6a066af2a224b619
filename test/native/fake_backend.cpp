// Lanes, events, buffers. The ops are in fake_ops.cpp.
#include "fake_backend.hpp"

namespace splitwiser::fake {

void HazardLog::add(const std::string& what) {
  const std::lock_guard lock(mutex_);
  // The first ones of a kind tell the cause; where it was is in brackets.
  if (++count_[what.substr(0, what.find(" ("))] <= 3) list_.push_back(what);
}

std::vector<std::string> HazardLog::list() const {
  const std::lock_guard lock(mutex_);
  return list_;
}

// ---- memory ----------------------------------------------------------------------------------

FakePool::FakePool(const KvShape& shape)
    : shape_(shape), slots_(std::size_t(shape.layers) * std::size_t(shape.pages) * std::size_t(shape.page_size)) {
  for (auto& pages : pending_) pages.resize(std::size_t(shape.pages));
}

Slot& FakePool::slot(int layer, std::int64_t page, std::int64_t offset) {
  return slots_.at(std::size_t((layer * shape_.pages + page) * shape_.page_size + offset));
}

void BufferRegistry::add(const void* base, std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  entries_.emplace(std::uintptr_t(base), Entry{bytes, -1});
}

void BufferRegistry::remove(const void* base) {
  const std::lock_guard lock(mutex_);
  entries_.erase(std::uintptr_t(base));
}

std::string BufferRegistry::claim(const void* data, std::size_t bytes, int lane) {
  const std::lock_guard lock(mutex_);
  const auto at = std::uintptr_t(data);
  auto found = entries_.upper_bound(at);
  if (found == entries_.begin()) return "an op uses memory that is no buffer's";
  --found;
  Entry& entry = found->second;
  if (at + bytes > found->first + entry.bytes) return "an op reaches past its buffer, or uses a freed one";
  if (entry.lane < 0) entry.lane = lane;
  return entry.lane == lane ? "" : "a buffer is used by both lanes";
}

std::size_t BufferRegistry::bytes() const {
  const std::lock_guard lock(mutex_);
  std::size_t sum = 0;
  for (const auto& [base, entry] : entries_) sum += entry.bytes;
  return sum;
}

namespace {

class FakeBuffer final : public Buffer {
 public:
  FakeBuffer(std::size_t bytes, std::shared_ptr<BufferRegistry> registry) : memory_(bytes), registry_(std::move(registry)) {
    registry_->add(memory_.data(), bytes);
  }
  ~FakeBuffer() override { registry_->remove(memory_.data()); }
  [[nodiscard]] void* data() override { return memory_.data(); }
  [[nodiscard]] std::size_t bytes() const override { return memory_.size(); }

 private:
  std::vector<std::byte> memory_;
  std::shared_ptr<BufferRegistry> registry_;
};

}  // namespace

// ---- lanes -----------------------------------------------------------------------------------

class FakeEvent final : public Event {
 public:
  FakeEvent(FakeLane& lane, std::uint64_t number) : lane_(lane), number_(number) {}
  [[nodiscard]] bool done() const override { return done_; }

 private:
  friend class FakeLane;
  FakeLane& lane_;
  std::uint64_t number_;        // ops of the lane that are over when it is done, itself included
  VectorClock clock_{};         // written before done_
  std::atomic<bool> done_{false};
};

FakeLane::FakeLane(Phase phase, std::uint64_t seed, std::shared_ptr<HazardLog> hazards,
                   std::shared_ptr<BufferRegistry> buffers)
    : phase_(phase), hazards_(std::move(hazards)), buffers_(std::move(buffers)),
      chance_(std::uint32_t(mix(seed, std::uint64_t(phase)) | 1)), thread_([this] { execute(); }) {}

FakeLane::~FakeLane() {
  {
    const std::lock_guard lock(mutex_);
    if (executed_ != issued_) hazard("a lane is destroyed with work in flight");
    queue_.clear();
    stopping_ = true;
    changed_.notify_all();
  }
  thread_.join();
}

void FakeLane::begin_step() {
  const std::lock_guard lock(mutex_);
  if (in_step_) hazard("a step begins in a step");
  in_step_ = true;
  step_thread_ = std::this_thread::get_id();
}

void FakeLane::end_step() {
  std::unique_lock lock(mutex_);
  if (!in_step_) hazard("a step ends that had not begun");
  if (executed_ != issued_) {
    // The step's memory may go now: the test shall report this and not crash.
    hazard("a step ends with work in flight");
    demanded_ = issued_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return executed_ == issued_; });
  }
  in_step_ = false;
}

void FakeLane::decode(const DecodeStep& step) {
  {
    const std::lock_guard lock(mutex_);
    most_steps_in_flight_ = std::max(most_steps_in_flight_, ++steps_in_flight_);
  }
  Lane::decode(step);
}

void FakeLane::yield_point() {
  std::unique_lock lock(mutex_);
  if (!hold_issue_) return;
  issue_held_ = true;
  changed_.notify_all();
  changed_.wait(lock, [this] { return !hold_issue_; });
  issue_held_ = false;
}

void FakeLane::issue(OpKind kind, std::function<void()> run, const std::function<void()>& accepted) {
  const std::lock_guard lock(mutex_);
  if (!in_step_) hazard("an op is issued outside of a step");
  if (in_step_ && step_thread_ != std::this_thread::get_id()) hazard("two threads use a lane in one step");
  if (failure_ && failure_->first == kind) {
    const ErrorCode code = failure_->second;
    failure_.reset();
    throw Error(code, "the test lets this op fail");
  }
  // One op in four runs as soon as it can, the rest as late as they may.
  queue_.push_back({kind, chance_() % 4 == 0, std::move(run)});
  issued_++;
  if (accepted) accepted();
  changed_.notify_all();
}

void FakeLane::demand(std::uint64_t count) {
  const std::lock_guard lock(mutex_);
  demanded_ = std::max(demanded_, count);
  changed_.notify_all();
}

void FakeLane::await(std::uint64_t count) {
  std::unique_lock lock(mutex_);
  demanded_ = std::max(demanded_, count);
  changed_.notify_all();
  changed_.wait(lock, [&] { return executed_ >= count; });
}

void FakeLane::execute() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] {
      if (queue_.empty()) return stopping_;
      const Work& next = queue_.front();
      if (!next.eager && executed_ >= demanded_) return false;
      if (hold_ != next.kind) return true;
      if (!held_) {
        held_ = true;
        changed_.notify_all();
      }
      return false;
    });
    if (queue_.empty()) return;
    const Work work = std::move(queue_.front());
    queue_.pop_front();
    const auto pauses = chance_() % 3;
    lock.unlock();
    for (auto i = pauses; i > 0; i--) std::this_thread::yield();
    clock_[std::size_t(phase_)]++;
    work.run();
    lock.lock();
    executed_++;
    changed_.notify_all();
  }
}

std::shared_ptr<Event> FakeLane::record() {
  std::uint64_t number = 0;
  {
    const std::lock_guard lock(mutex_);
    number = issued_ + 1;  // one thread uses a lane at a time
  }
  auto event = std::make_shared<FakeEvent>(*this, number);
  issue(OpKind::record, [this, event] {
    event->clock_ = clock_;
    event->done_ = true;
  });
  return event;
}

void FakeLane::wait(const std::shared_ptr<Event>& event) {
  auto other = std::static_pointer_cast<FakeEvent>(event);
  issue(OpKind::wait, [this, other] {
    if (&other->lane_ != this) other->lane_.await(other->number_);
    for (std::size_t i = 0; i < clock_.size(); i++) clock_[i] = std::max(clock_[i], other->clock_[i]);
  });
  if (&other->lane_ != this) other->lane_.demand(other->number_);
}

void FakeLane::synchronize(const Event& event) {
  const auto& mine = static_cast<const FakeEvent&>(event);
  mine.lane_.await(mine.number_);
  const std::lock_guard lock(mutex_);
  if (steps_in_flight_ > 0) steps_in_flight_--;
}

// ---- for tests -------------------------------------------------------------------------------

void FakeLane::hold(OpKind before) {
  const std::lock_guard lock(mutex_);
  hold_ = before;
}

void FakeLane::wait_until_held() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return held_; });
}

void FakeLane::resume() {
  const std::lock_guard lock(mutex_);
  hold_.reset();
  held_ = false;
  changed_.notify_all();
}

void FakeLane::hold_issue() {
  const std::lock_guard lock(mutex_);
  hold_issue_ = true;
}

void FakeLane::wait_until_issue_held() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return issue_held_; });
}

void FakeLane::resume_issue() {
  const std::lock_guard lock(mutex_);
  hold_issue_ = false;
  changed_.notify_all();
}

void FakeLane::fail_next(OpKind kind, ErrorCode code) {
  const std::lock_guard lock(mutex_);
  failure_ = {kind, code};
}

// ---- backend ---------------------------------------------------------------------------------

FakeBackend::FakeBackend(std::uint64_t seed, std::shared_ptr<HazardLog> hazards, int steps_in_flight)
    : hazards_(std::move(hazards)), buffers_(std::make_shared<BufferRegistry>()), steps_in_flight_(steps_in_flight) {
  for (const Phase phase : {Phase::prefill, Phase::decode}) {
    lanes_[std::size_t(phase)] = std::make_unique<FakeLane>(phase, seed, hazards_, buffers_);
  }
}

std::unique_ptr<Matrix> FakeBackend::pack(std::span<const HostMatrix> stacked, DType) {
  std::int64_t rows = 0;
  for (const HostMatrix& source : stacked) rows += source.rows;
  return std::make_unique<FakeMatrix>(++last_id_, rows, stacked[0].cols);
}

std::unique_ptr<Vector> FakeBackend::upload(std::span<const HostMatrix> concatenated) {
  std::int64_t size = 0;
  for (const HostMatrix& source : concatenated) size += source.cols;
  return std::make_unique<FakeVector>(++last_id_, size);
}

std::unique_ptr<Buffer> FakeBackend::allocate(std::size_t bytes) {
  if (buffers_->bytes() + bytes > memory_limit_) throw Error(ErrorCode::out_of_memory, "the test's memory is full");
  return std::make_unique<FakeBuffer>(bytes, buffers_);
}

std::unique_ptr<KvPool> FakeBackend::make_kv_pool(const KvShape& shape) { return std::make_unique<FakePool>(shape); }

Partition FakeBackend::configure(const PartitionRequest& request) {
  for (const auto& lane : lanes_) {
    if (lane->busy()) hazards_->add("the backend is configured while a lane has work");
  }
  if (refuse_configure_.exchange(false)) {
    memory_limit_ = 0;
    throw Error(ErrorCode::invalid_option, "the test refuses this configuration");
  }
  return request.kind.value_or(Partition::none);
}

}  // namespace splitwiser::fake
