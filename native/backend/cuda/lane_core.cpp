#include "backend/cuda/lane_core.hpp"

#include <algorithm>
#include <utility>

namespace splitwiser::cuda {
namespace {

constexpr std::size_t kReadBytes = std::size_t(4) << 20;
constexpr std::size_t kScratchAddresses = std::size_t(4) << 30;  // addresses only: memory comes as it is needed

}  // namespace

Scratch::Scratch(std::shared_ptr<const Device> device, const char* what)
    : memory_(std::move(device), kScratchAddresses, what) {}

LaneCore::LaneCore(std::shared_ptr<Context> primary, const KernelLibrary& kernels)
    : primary_(std::move(primary)),
      kernels_(kernels),
      prompt_graphs_(*this),
      staging_(primary_->device_pointer()),
      partials_(primary_->device_pointer(), "partial results of attention"),
      arrivals_(primary_->device_pointer(), "counters of attention"),
      sample_scratch_(primary_->device_pointer(), "working memory of sampling"),
      sample_scan_(primary_->device_pointer(), "scans of long rows of logits") {}

LaneCore::~LaneCore() {
  if (place_) driver().StreamSynchronize(place_.stream->handle());
  prompt_graphs_.clear();
}

// ---- where ---------------------------------------------------------------------------------------

void LaneCore::enter(const LanePlace& place) {
  const bool moves = place_ && place_.stream != place.stream;
  if (moves) record()->order(*place.stream);
  if (current_ && (moves || !place_)) leave();
  place_ = place;
  if (current_) return;
  device().check(driver().CtxPushCurrent(place_.stream->context().handle()), "cuCtxPushCurrent");
  current_ = true;
}

void LaneCore::leave() noexcept {
  if (!current_) return;
  CUcontext popped = nullptr;
  driver().CtxPopCurrent(&popped);
  current_ = false;
}

void LaneCore::reset() {
  collected_.clear();
  if (!place_) return;
  place_.stream->synchronize();
  prompt_graphs_.clear();
  place_ = {};
  last_ = nullptr;
}

Stream& LaneCore::stream() {
  if (!place_) throw Error(ErrorCode::internal, "a lane is used before its first step");
  if (!collected_.empty()) issue_collected();
  issued_ = true;
  after_kernel_ = false;
  return *place_.stream;
}

// ---- work ----------------------------------------------------------------------------------------

void LaneCore::launch_now(const LaunchPlan& plan, const void* params, std::size_t bytes) {
  const bool may_overlap = capturing_ && after_kernel_;
  kernels_.launch_bytes({stream().handle(), place_.quota_sms, may_overlap}, plan, params, bytes);
  after_kernel_ = true;
}

void LaneCore::issue_collected() { prompt_graphs_.issue(std::exchange(collected_, {})); }

void LaneCore::send(const Staging::Block& block) { copy_in(block.device, block.host, block.bytes); }

void LaneCore::copy_in(void* to, const std::byte* from, std::size_t bytes) {
  device().check(driver().MemcpyHtoDAsync(reinterpret_cast<CUdeviceptr>(to), from, bytes, stream().handle()),
                 "cuMemcpyHtoDAsync");
}

void LaneCore::copy_out(std::byte* to, const void* from, std::size_t bytes) {
  device().check(driver().MemcpyDtoHAsync(to, reinterpret_cast<CUdeviceptr>(from), bytes, stream().handle()),
                 "cuMemcpyDtoHAsync");
}

// Other threads may call what is unsafe in a capture meanwhile: only this thread's calls are held to it.
void LaneCore::begin_capture() {
  device().check(driver().StreamBeginCapture(stream().handle(), CU_STREAM_CAPTURE_MODE_THREAD_LOCAL), "cuStreamBeginCapture");
  capturing_ = true;
}

void LaneCore::drop_capture() noexcept {
  capturing_ = false;
  CUgraph graph = nullptr;
  if (driver().StreamEndCapture(place_.stream->handle(), &graph) == CUDA_SUCCESS && graph != nullptr) {
    driver().GraphDestroy(graph);
  }
}

CUgraphExec LaneCore::end_capture() {
  capturing_ = false;
  CUgraph graph = nullptr;
  const CUresult ended = driver().StreamEndCapture(stream().handle(), &graph);
  if (ended != CUDA_SUCCESS) drop_capture();  // whatever is left of it
  device().check(ended, "cuStreamEndCapture");
  CUgraphExec exec = nullptr;
  // Each node keeps the priority of the stream that it was captured in.
  const CUresult made = driver().GraphInstantiateWithFlags(&exec, graph, CUDA_GRAPH_INSTANTIATE_FLAG_USE_NODE_PRIORITY);
  driver().GraphDestroy(graph);
  device().check(made, "a graph of a lane's work");
  const CUresult sent = driver().GraphUpload(exec, stream().handle());
  if (sent != CUDA_SUCCESS) driver().GraphExecDestroy(exec);
  device().check(sent, "cuGraphUpload");
  return exec;
}

// ---- events and results --------------------------------------------------------------------------

std::shared_ptr<CudaEvent> LaneCore::record() {
  if (!collected_.empty()) issue_collected();
  if (!issued_ && last_) return last_;
  last_ = std::make_shared<CudaEvent>(stream(), this, marks_ + 1);
  marks_++;
  issued_ = false;
  return last_;
}

void LaneCore::wait(const CudaEvent& event) {
  if (event.lane() != this) event.order(stream());
}

void LaneCore::synchronize(const CudaEvent& event) {
  try {
    event.wait();
  } catch (...) {
    // Nothing will come any more, and the places that results were to go to may be gone when somebody asks again.
    results_.clear();
    throw;
  }
  if (event.lane() != this) return;
  while (!results_.empty() && results_.front().mark <= event.mark()) {
    const Result result = std::move(results_.front());
    results_.pop_front();
    result.hand_over();
  }
  if (results_.empty()) reads_used_ = 0;
}

void LaneCore::when_done(std::function<void()> hand_over) {
  // Where nothing was issued since the last event, record() gives that one again.
  results_.push_back({issued_ || !collected_.empty() || !last_ ? marks_ + 1 : marks_, std::move(hand_over)});
}

std::byte* LaneCore::read_room(std::size_t bytes) {
  const std::size_t room = (bytes + 63) / 64 * 64;
  if (reads_used_ + room > reads_.bytes()) {
    if (reads_used_ > 0) synchronize(*record());
    reads_used_ = 0;
    if (room > reads_.bytes()) reads_ = PinnedMemory(primary_->device_pointer(), std::max(room, kReadBytes));
  }
  std::byte* at = reads_.data() + reads_used_;
  reads_used_ += room;
  return at;
}

// ---- steps ---------------------------------------------------------------------------------------

void LaneCore::close_slot() {
  if (!slot_open_) return;
  slot_done_[staging_.slot()] = record();
  slot_open_ = false;
}

void LaneCore::next_slot() {
  close_slot();
  staging_.next_slot();
  slot_open_ = true;
  auto& done = slot_done_[staging_.slot()];
  if (!done) return;
  synchronize(*done);
  done = nullptr;
}

void LaneCore::end_steps() noexcept {
  try {
    if (place_) close_slot();
  } catch (...) {
    // A lost device: no later step gets as far as this slot.
  }
  leave();
}

std::byte* LaneCore::partials(std::size_t bytes) {
  if (rehearsal_) {
    rehearsed_partials_ = std::max(rehearsed_partials_, bytes);
  } else {
    partials_.grow(bytes);
  }
  return partials_.data();
}

std::byte* LaneCore::arrivals(std::size_t bytes) {
  const std::size_t before = arrivals_.bytes();
  arrivals_.grow(bytes);
  if (arrivals_.bytes() > before) {
    device().check(driver().MemsetD8Async(reinterpret_cast<CUdeviceptr>(arrivals_.data()) + before, 0,
                                          arrivals_.bytes() - before, stream().handle()),
                   "cuMemsetD8Async");
  }
  return arrivals_.data();
}

std::byte* LaneCore::sample_scratch(std::size_t bytes) {
  sample_scratch_.grow(bytes);
  return sample_scratch_.data();
}

std::byte* LaneCore::sample_scan(std::size_t bytes) {
  sample_scan_.grow(bytes);
  return sample_scan_.data();
}

}  // namespace splitwiser::cuda
