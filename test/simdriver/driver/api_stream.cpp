// Streams and their capture.
#include <algorithm>

#include "capture.hpp"

using namespace simdriver;

namespace {

constexpr CallRules kCreate{.fail_class = "stream", .failure = CUDA_ERROR_OUT_OF_MEMORY};
constexpr CallRules kWait{.unsafe_in_capture = true};

CUresult create(State& all, CUstream* to, unsigned flags, int priority) {
  const auto context = all.current();
  if (!context) return CUDA_ERROR_INVALID_CONTEXT;
  if (!to || (flags & ~unsigned(CU_STREAM_NON_BLOCKING)) != 0) return CUDA_ERROR_INVALID_VALUE;
  if (context->kind == ContextKind::green && flags != CU_STREAM_NON_BLOCKING) {
    all.finding("a stream of a green context must be non-blocking");
    return CUDA_ERROR_INVALID_VALUE;
  }
  *to = reinterpret_cast<CUstream>(all.new_stream(context, flags, std::clamp(priority, -5, 0)).get());
  return CUDA_SUCCESS;
}

// Runs body(stream) with the stream that `handle` means.
template <class Body>
CUresult with_stream(const char* name, const CallRules& rules, CUstream handle, Body body) {
  return entry(name, rules, [&](State& all, auto& lock) {
    std::shared_ptr<Stream> stream;
    if (const CUresult result = all.resolve(handle, stream); result != CUDA_SUCCESS) return result;
    return body(all, lock, stream);
  });
}

CUresult refuse_in_capture(State& all, Stream& stream) {
  if (!stream.capture) return CUDA_SUCCESS;
  all.finding("a stream was queried or waited for while it captures");
  all.invalidate(*stream.capture);
  return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
}

}  // namespace

extern "C" {

CUresult CUDAAPI cuStreamCreate(CUstream* to, unsigned int flags) {
  return entry("cuStreamCreate", kCreate, [&](State& all, auto&) { return create(all, to, flags, 0); });
}

CUresult CUDAAPI cuStreamCreateWithPriority(CUstream* to, unsigned int flags, int priority) {
  return entry("cuStreamCreateWithPriority", kCreate, [&](State& all, auto&) { return create(all, to, flags, priority); });
}

// Work that is in flight goes on.
CUresult CUDAAPI cuStreamDestroy(CUstream handle) {
  return entry("cuStreamDestroy", {.after_loss = true}, [&](State& all, auto&) {
    const auto stream = all.streams.find(handle);
    if (!stream || stream->legacy) return CUDA_ERROR_INVALID_HANDLE;
    if (!stream->context->alive) return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    if (stream->capture) all.invalidate(*stream->capture);
    stream->alive = false;
    all.streams.retire(handle);
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuStreamSynchronize(CUstream handle) {
  return with_stream("cuStreamSynchronize", kWait, handle, [](State& all, auto& lock, const auto& stream) {
    if (const CUresult result = refuse_in_capture(all, *stream); result != CUDA_SUCCESS) return result;
    all.report.host_sync("cuStreamSynchronize");
    const auto tails = all.before(*stream);
    for (const auto& tail : tails) {
      if (!tail) continue;
      if (!tail->done && (stream->context->flags & CU_CTX_SCHED_MASK) != CU_CTX_SCHED_BLOCKING_SYNC) ++all.report.spinning_waits;
      all.executor.wait(lock, tail);
    }
    return all.lost;
  });
}

CUresult CUDAAPI cuStreamQuery(CUstream handle) {
  return with_stream("cuStreamQuery", kWait, handle, [](State& all, auto&, const auto& stream) {
    if (const CUresult result = refuse_in_capture(all, *stream); result != CUDA_SUCCESS) return result;
    const auto tails = all.before(*stream);
    for (const auto& tail : tails) {
      if (tail && !tail->done) return CUDA_ERROR_NOT_READY;
    }
    for (const auto& tail : tails) {
      if (tail) all.executor.observed(*tail);
    }
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuStreamWaitEvent(CUstream handle, CUevent of, unsigned int flags) {
  return with_stream("cuStreamWaitEvent", {}, handle, [&](State& all, auto&, const auto& stream) {
    const auto event = all.events.find(of);
    if (!event) return CUDA_ERROR_INVALID_HANDLE;
    if (flags > CU_EVENT_WAIT_EXTERNAL) return CUDA_ERROR_INVALID_VALUE;
    return wait_event(all, stream, event, flags == CU_EVENT_WAIT_EXTERNAL);
  });
}

CUresult CUDAAPI cuStreamGetPriority(CUstream handle, int* to) {
  return with_stream("cuStreamGetPriority", {}, handle, [&](State&, auto&, const auto& stream) {
    if (!to) return CUDA_ERROR_INVALID_VALUE;
    *to = stream->priority;
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuStreamGetFlags(CUstream handle, unsigned int* to) {
  return with_stream("cuStreamGetFlags", {}, handle, [&](State&, auto&, const auto& stream) {
    if (!to) return CUDA_ERROR_INVALID_VALUE;
    *to = stream->flags;
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuStreamGetId(CUstream handle, unsigned long long* to) {
  return with_stream("cuStreamGetId", {}, handle, [&](State&, auto&, const auto& stream) {
    if (!to) return CUDA_ERROR_INVALID_VALUE;
    *to = stream->id;
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuStreamBeginCapture(CUstream handle, CUstreamCaptureMode mode) {
  return with_stream("cuStreamBeginCapture", {}, handle, [&](State& all, auto&, const auto& stream) {
    return begin_capture(all, stream, mode);
  });
}

CUresult CUDAAPI cuStreamEndCapture(CUstream handle, CUgraph* to) {
  return with_stream("cuStreamEndCapture", {.fail_class = "graph", .failure = CUDA_ERROR_OUT_OF_MEMORY}, handle,
                     [&](State& all, auto&, const auto& stream) {
    if (!to) return CUDA_ERROR_INVALID_VALUE;
    return end_capture(all, stream, to);
  });
}

CUresult CUDAAPI cuStreamIsCapturing(CUstream handle, CUstreamCaptureStatus* to) {
  return with_stream("cuStreamIsCapturing", {}, handle, [&](State&, auto&, const auto& stream) {
    if (!to) return CUDA_ERROR_INVALID_VALUE;
    *to = !stream->capture ? CU_STREAM_CAPTURE_STATUS_NONE
          : stream->capture->invalid ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
                                     : CU_STREAM_CAPTURE_STATUS_ACTIVE;
    return CUDA_SUCCESS;
  });
}

}  // extern "C"
