// Contexts: the primary one, plain ones, and those with an execution affinity (clients of an MPS server only).
#include <algorithm>
#include <optional>

#include "state.hpp"

using namespace simdriver;

namespace {

constexpr unsigned kScheduling = CU_CTX_SCHED_MASK;
constexpr unsigned kAffinityStep = 2;        // SMs; an affinity is rounded up to it
constexpr int kMpsContexts = 48;             // of one server, CUDA 13.0

simt::SmSet all_sms() {
  simt::SmSet set;
  for (int i = 0; i < settings().sms; ++i) set.set(std::size_t(i));
  return set;
}

// An MPS context may get any SMs: the first is drawn, the others follow, and contexts may overlap.
simt::SmSet drawn_sms(unsigned count, std::uint64_t number) {
  simt::SmSet set;
  const unsigned sms = unsigned(settings().sms);
  const unsigned first = unsigned((settings().seed * 7 + number * 5) % sms);
  for (unsigned i = 0; i < count; ++i) set.set((first + i) % sms);
  return set;
}

void push(State& all, const std::shared_ptr<Context>& context) {
  ++context->current_in;
  if (context->kind == ContextKind::green && context->current_in > 1) {
    const auto& own = all.stack();
    const bool here = std::find(own.begin(), own.end(), context) != own.end();
    if (!here) all.finding("a green context was made current in two threads at once");
  }
  all.stack().push_back(context);
}

void pop(State& all) {
  --all.stack().back()->current_in;
  all.stack().pop_back();
}

CUresult create(State& all, CUcontext* to, unsigned flags, CUdevice device, std::optional<unsigned> affinity) {
  if (!to) return CUDA_ERROR_INVALID_VALUE;
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  std::shared_ptr<Context> made;
  if (!affinity) {
    made = all.new_context(ContextKind::plain, flags, all_sms());
    all.finding("a plain context was made with cuCtxCreate: work in it shares nothing with the primary context");
  } else {
    if (!settings().mps) return CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY;
    if (*affinity == 0 || *affinity > unsigned(settings().sms)) return CUDA_ERROR_INVALID_VALUE;
    if (all.affinity_contexts >= kMpsContexts) return CUDA_ERROR_MPS_MAX_CLIENTS_REACHED;
    const unsigned step = (*affinity + kAffinityStep - 1) / kAffinityStep * kAffinityStep;
    const unsigned granted = std::min(step, unsigned(settings().sms));
    made = all.new_context(ContextKind::affinity, flags, drawn_sms(granted, all.next_id));
    made->granted_affinity = granted;
    ++all.affinity_contexts;
  }
  push(all, made);  // cuCtxCreate makes the context current
  *to = reinterpret_cast<CUcontext>(made.get());
  return CUDA_SUCCESS;
}

constexpr CallRules kCreate{.fail_class = "context", .failure = CUDA_ERROR_OUT_OF_MEMORY, .unsafe_in_capture = true};

CUresult create_with(State& all, CUcontext* to, const CUexecAffinityParam* affinity, int count, unsigned flags, CUdevice device) {
  if (count < 0 || (count > 0 && !affinity)) return CUDA_ERROR_INVALID_VALUE;
  std::optional<unsigned> wanted;
  for (int i = 0; i < count; ++i) {  // the last of a type counts
    if (affinity[i].type != CU_EXEC_AFFINITY_TYPE_SM_COUNT) return CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY;
    wanted = affinity[i].param.smCount.val;
  }
  return create(all, to, flags, device, wanted);
}

}  // namespace

extern "C" {

CUresult CUDAAPI cuDevicePrimaryCtxRetain(CUcontext* to, CUdevice device) {
  constexpr CallRules kRules{.fail_class = "context", .failure = CUDA_ERROR_OUT_OF_MEMORY};
  return entry("cuDevicePrimaryCtxRetain", kRules, [&](State& all, auto&) {
    if (!to) return CUDA_ERROR_INVALID_VALUE;
    if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
    if (!all.primary) all.primary = all.new_context(ContextKind::primary, all.primary_flags, all_sms());
    ++all.primary_retains;
    *to = reinterpret_cast<CUcontext>(all.primary.get());
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuDevicePrimaryCtxRelease(CUdevice device) {
  return entry("cuDevicePrimaryCtxRelease", {.after_loss = true}, [&](State& all, auto& lock) {
    if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
    if (all.primary_retains == 0) return CUDA_ERROR_INVALID_CONTEXT;
    if (--all.primary_retains > 0) return CUDA_SUCCESS;
    if (all.executor.pending() != 0) all.finding("the primary context was released while work was in flight");
    all.executor.wait_all(lock);
    all.destroy_context(all.primary);
    all.primary = nullptr;
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuDevicePrimaryCtxSetFlags(CUdevice device, unsigned int flags) {
  return entry("cuDevicePrimaryCtxSetFlags", {.after_loss = true}, [&](State& all, auto&) {
    if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
    if ((flags & kScheduling) > CU_CTX_SCHED_BLOCKING_SYNC) return CUDA_ERROR_INVALID_VALUE;
    all.primary_flags = flags;
    if (all.primary) all.primary->flags = flags;
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuDevicePrimaryCtxGetState(CUdevice device, unsigned int* flags, int* active) {
  return entry("cuDevicePrimaryCtxGetState", {.after_loss = true}, [&](State& all, auto&) {
    if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
    if (flags) *flags = all.primary_flags;
    if (active) *active = all.primary ? 1 : 0;
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuDevicePrimaryCtxReset(CUdevice) {
  return entry("cuDevicePrimaryCtxReset", {.after_loss = true}, [&](State& all, auto&) {
    all.finding("cuDevicePrimaryCtxReset was called: others in this process share the primary context");
    return CUDA_ERROR_NOT_PERMITTED;
  });
}

// 12050: the affinity in a structure; exactly one of its two pointers is set. Null: a plain context.
CUresult CUDAAPI cuCtxCreate_v4(CUcontext* to, CUctxCreateParams* params, unsigned int flags, CUdevice device) {
  return entry("cuCtxCreate", kCreate, [&](State& all, auto&) {
    if (!params) return create(all, to, flags, device, std::nullopt);
    if (!params->execAffinityParams == !params->cigParams) return CUDA_ERROR_INVALID_VALUE;
    if (params->cigParams) return CUDA_ERROR_NOT_SUPPORTED;
    return create_with(all, to, params->execAffinityParams, params->numExecAffinityParams, flags, device);
  });
}

// 11040
CUresult CUDAAPI cuCtxCreate_v3(CUcontext* to, CUexecAffinityParam* affinity, int count, unsigned int flags, CUdevice device) {
  return entry("cuCtxCreate", kCreate, [&](State& all, auto&) { return create_with(all, to, affinity, count, flags, device); });
}

// 3020
CUresult CUDAAPI cuCtxCreate_v2(CUcontext* to, unsigned int flags, CUdevice device) {
  return entry("cuCtxCreate", kCreate, [&](State& all, auto&) { return create(all, to, flags, device, std::nullopt); });
}

CUresult CUDAAPI cuCtxDestroy(CUcontext handle) {
  return entry("cuCtxDestroy", {.after_loss = true}, [&](State& all, auto&) {
    const auto context = all.contexts.find(handle);
    if (!context) return CUDA_ERROR_INVALID_CONTEXT;
    if (context->kind == ContextKind::primary || context->kind == ContextKind::green) {
      all.finding("cuCtxDestroy was called with a context that cuCtxCreate did not make");
      return CUDA_ERROR_INVALID_CONTEXT;
    }
    if (all.executor.pending_in(*context)) all.finding("a context was destroyed while its work was in flight");
    if (all.current() == context) pop(all);
    if (context->kind == ContextKind::affinity) --all.affinity_contexts;
    all.destroy_context(context);
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuCtxPushCurrent(CUcontext handle) {
  return entry("cuCtxPushCurrent", {.after_loss = true}, [&](State& all, auto&) {
    const auto context = all.contexts.find(handle);
    if (!context) return all.contexts.was(handle) ? CUDA_ERROR_CONTEXT_IS_DESTROYED : CUDA_ERROR_INVALID_CONTEXT;
    push(all, context);
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuCtxPopCurrent(CUcontext* to) {
  return entry("cuCtxPopCurrent", {.after_loss = true}, [&](State& all, auto&) {
    if (!all.current()) return CUDA_ERROR_INVALID_CONTEXT;
    if (to) *to = reinterpret_cast<CUcontext>(all.current().get());
    pop(all);
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuCtxSetCurrent(CUcontext handle) {
  return entry("cuCtxSetCurrent", {.after_loss = true}, [&](State& all, auto&) {
    const auto context = all.contexts.find(handle);
    if (handle && !context) return all.contexts.was(handle) ? CUDA_ERROR_CONTEXT_IS_DESTROYED : CUDA_ERROR_INVALID_CONTEXT;
    if (all.current()) pop(all);
    if (context) push(all, context);
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuCtxGetCurrent(CUcontext* to) {
  return entry("cuCtxGetCurrent", {.after_loss = true}, [&](State& all, auto&) {
    if (!to) return CUDA_ERROR_INVALID_VALUE;
    *to = reinterpret_cast<CUcontext>(all.current().get());
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuCtxGetDevice(CUdevice* to) {
  return entry("cuCtxGetDevice", {.after_loss = true}, [&](State& all, auto&) {
    if (!to) return CUDA_ERROR_INVALID_VALUE;
    *to = 0;
    return all.current() ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
  });
}

CUresult CUDAAPI cuCtxGetFlags(unsigned int* to) {
  return entry("cuCtxGetFlags", {}, [&](State& all, auto&) {
    if (!to) return CUDA_ERROR_INVALID_VALUE;
    if (!all.current()) return CUDA_ERROR_INVALID_CONTEXT;
    *to = all.current()->flags;
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuCtxGetId(CUcontext handle, unsigned long long* to) {
  return entry("cuCtxGetId", {}, [&](State& all, auto&) {
    const auto context = handle ? all.contexts.find(handle) : all.current();
    if (!context) return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    if (!to) return CUDA_ERROR_INVALID_VALUE;
    *to = context->id;
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuCtxSynchronize() {
  return entry("cuCtxSynchronize", {.unsafe_in_capture = true}, [&](State& all, auto& lock) {
    const auto context = all.current();
    if (!context) return CUDA_ERROR_INVALID_CONTEXT;
    all.report.host_sync("cuCtxSynchronize");
    // The primary context's synchronisation waits for the green contexts too; for safety all do.
    all.executor.wait_all(lock);
    return all.lost;
  });
}

CUresult CUDAAPI cuCtxGetStreamPriorityRange(int* least, int* greatest) {
  return entry("cuCtxGetStreamPriorityRange", {}, [&](State& all, auto&) {
    if (!all.current()) return CUDA_ERROR_INVALID_CONTEXT;
    if (least) *least = 0;
    if (greatest) *greatest = -5;
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuCtxGetExecAffinity(CUexecAffinityParam* to, CUexecAffinityType type) {
  return entry("cuCtxGetExecAffinity", {}, [&](State& all, auto&) {
    const auto context = all.current();
    if (!to) return CUDA_ERROR_INVALID_VALUE;
    if (!context) return CUDA_ERROR_INVALID_CONTEXT;
    if (type != CU_EXEC_AFFINITY_TYPE_SM_COUNT || !settings().mps) return CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY;
    to->type = type;
    to->param.smCount.val = context->granted_affinity ? context->granted_affinity : unsigned(settings().sms);
    return CUDA_SUCCESS;
  });
}

}  // extern "C"
