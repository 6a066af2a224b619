// Events.
#include "capture.hpp"

using namespace simdriver;

namespace {

constexpr CallRules kWait{.unsafe_in_capture = true};

CUresult record(State& all, CUevent handle, CUstream on, bool external) {
  const auto event = all.events.find(handle);
  if (!event) return CUDA_ERROR_INVALID_HANDLE;
  std::shared_ptr<Stream> stream;
  if (const CUresult result = all.resolve(on, stream); result != CUDA_SUCCESS) return result;
  return record_event(all, stream, event, external);
}

CUresult refuse_captured(State& all, const Event& event) {
  if (!event.capture) return CUDA_SUCCESS;
  all.finding("an event whose last record was captured was queried or waited for");
  if (!event.capture->ended) all.invalidate(*event.capture);
  return CUDA_ERROR_CAPTURED_EVENT;
}

}  // namespace

extern "C" {

CUresult CUDAAPI cuEventCreate(CUevent* to, unsigned int flags) {
  return entry("cuEventCreate", {.fail_class = "event", .failure = CUDA_ERROR_OUT_OF_MEMORY}, [&](State& all, auto&) {
    const auto context = all.current();
    if (!context) return CUDA_ERROR_INVALID_CONTEXT;
    constexpr unsigned kKnown = CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING;
    if (!to || (flags & ~kKnown) != 0) return CUDA_ERROR_INVALID_VALUE;
    auto event = std::make_shared<Event>();
    event->context = context;
    event->flags = flags;
    *to = all.events.add<CUevent>(event);
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuEventDestroy(CUevent handle) {
  return entry("cuEventDestroy", {.after_loss = true}, [&](State& all, auto&) {
    if (!all.events.find(handle)) return CUDA_ERROR_INVALID_HANDLE;
    all.events.retire(handle);
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuEventRecord(CUevent handle, CUstream stream) {
  return entry("cuEventRecord", {}, [&](State& all, auto&) { return record(all, handle, stream, false); });
}

CUresult CUDAAPI cuEventRecordWithFlags(CUevent handle, CUstream stream, unsigned int flags) {
  return entry("cuEventRecordWithFlags", {}, [&](State& all, auto&) {
    if (flags > CU_EVENT_RECORD_EXTERNAL) return CUDA_ERROR_INVALID_VALUE;
    return record(all, handle, stream, flags == CU_EVENT_RECORD_EXTERNAL);
  });
}

CUresult CUDAAPI cuEventQuery(CUevent handle) {
  return entry("cuEventQuery", kWait, [&](State& all, auto&) {
    const auto event = all.events.find(handle);
    if (!event) return CUDA_ERROR_INVALID_HANDLE;
    if (const CUresult result = refuse_captured(all, *event); result != CUDA_SUCCESS) return result;
    if (!event->last) return CUDA_SUCCESS;
    if (!event->last->done) return CUDA_ERROR_NOT_READY;
    all.executor.observed(*event->last);
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuEventSynchronize(CUevent handle) {
  return entry("cuEventSynchronize", kWait, [&](State& all, auto& lock) {
    const auto event = all.events.find(handle);
    if (!event) return CUDA_ERROR_INVALID_HANDLE;
    if (const CUresult result = refuse_captured(all, *event); result != CUDA_SUCCESS) return result;
    all.report.host_sync("cuEventSynchronize");
    const auto last = event->last;
    if (last && !last->done && !(event->flags & CU_EVENT_BLOCKING_SYNC)) ++all.report.spinning_waits;
    all.executor.wait(lock, last);
    return all.lost;
  });
}

CUresult CUDAAPI cuEventElapsedTime(float* to, CUevent first, CUevent second) {
  return entry("cuEventElapsedTime", {}, [&](State& all, auto&) {
    const auto begin = all.events.find(first), end = all.events.find(second);
    if (!begin || !end) return CUDA_ERROR_INVALID_HANDLE;
    if (!to) return CUDA_ERROR_INVALID_VALUE;
    if ((begin->flags | end->flags) & CU_EVENT_DISABLE_TIMING) return CUDA_ERROR_INVALID_HANDLE;
    if (begin->context != end->context) {
      all.finding("cuEventElapsedTime: the events are of different contexts");
      return CUDA_ERROR_INVALID_HANDLE;
    }
    if (!begin->last || !end->last) return CUDA_ERROR_INVALID_HANDLE;
    if (!begin->last->done || !end->last->done) return CUDA_ERROR_NOT_READY;
    *to = float(end->last->done_ms - begin->last->done_ms);
    return CUDA_SUCCESS;
  });
}

}  // extern "C"
