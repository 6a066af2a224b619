// A point in a lane's work. Made in the context of the stream that it is recorded in; any stream may wait for it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "backend/backend.hpp"
#include "backend/cuda/device.hpp"

namespace splitwiser::cuda {

class CudaEvent final : public Event {
 public:
  // Recorded in `stream` now. `mark` counts the events of `lane`.
  CudaEvent(const Stream& stream, const void* lane, std::uint64_t mark)
      : context_(stream.context_pointer()), event_(context_->take_event()), lane_(lane), mark_(mark) {
    const CUresult result = context_->device().driver().EventRecord(event_, stream.handle());
    if (result == CUDA_SUCCESS) return;
    context_->give_back(event_);
    context_->device().check(result, "cuEventRecord");
  }
  // Whoever waits in a stream has read the event's state when it called: the event may be recorded anew.
  ~CudaEvent() override { context_->give_back(event_); }
  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;

  [[nodiscard]] bool done() const override {
    if (done_) return true;
    const CUresult result = context_->device().driver().EventQuery(event_);
    if (result == CUDA_ERROR_NOT_READY) return false;
    context_->device().check(result, "cuEventQuery");
    done_ = true;
    return true;
  }
  // The calling thread sleeps until then.
  void wait() const {
    if (done_) return;
    context_->device().check(context_->device().driver().EventSynchronize(event_), "waiting for the GPU");
    done_ = true;
  }
  // Later work of `stream` comes after it.
  void order(const Stream& stream) const {
    if (done_) return;
    context_->device().check(context_->device().driver().StreamWaitEvent(stream.handle(), event_, 0), "cuStreamWaitEvent");
  }
  [[nodiscard]] const void* lane() const { return lane_; }
  [[nodiscard]] std::uint64_t mark() const { return mark_; }

 private:
  std::shared_ptr<Context> context_;
  CUevent event_;
  const void* lane_;
  std::uint64_t mark_;
  mutable std::atomic<bool> done_{false};
};

}  // namespace splitwiser::cuda
