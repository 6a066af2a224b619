// Green contexts: SMs of the device as a resource, split by count, each architecture with its own granularity.
#include <algorithm>
#include <cstring>

#include "state.hpp"

using namespace simdriver;

namespace {

// What a CUdevResource of ours holds beside the public fields, in its padding.
struct Inside {
  std::uint32_t magic;
  std::uint32_t split;       // the split that made it; 0: none, it may be split
  std::uint32_t place;       // its place in that split
  std::uint32_t words[simt::kMaxSms / 32];
};
constexpr std::uint32_t kMagic = 0x51D0C7E5;
static_assert(sizeof(Inside) <= sizeof(CUdevResource::_internal_padding));
static_assert(sizeof(CUdevResource) == 144 && offsetof(CUdevResource, sm) == 96);

CUdevResource make_resource(const simt::SmSet& sms, std::uint32_t split, std::uint32_t place, bool ignore_coscheduling) {
  const ArchLimits& arch = arch_limits(settings().arch);
  CUdevResource resource;
  std::memset(&resource, 0, sizeof resource);
  resource.type = CU_DEV_RESOURCE_TYPE_SM;
  resource.sm.smCount = unsigned(sms.count());
  resource.sm.minSmPartitionSize = unsigned(ignore_coscheduling ? 2 : arch.min_partition);
  resource.sm.smCoscheduledAlignment = unsigned(ignore_coscheduling ? 2 : arch.partition_step);
  Inside inside{kMagic, split, place, {}};
  for (std::size_t i = 0; i < sms.size(); ++i) {
    if (sms[i]) inside.words[i / 32] |= std::uint32_t(1) << (i % 32);
  }
  std::memcpy(resource._internal_padding, &inside, sizeof inside);
  return resource;
}

bool read_resource(const CUdevResource& resource, Inside& inside, simt::SmSet& sms) {
  std::memcpy(&inside, resource._internal_padding, sizeof inside);
  if (resource.type != CU_DEV_RESOURCE_TYPE_SM || inside.magic != kMagic) return false;
  sms.reset();
  for (std::size_t i = 0; i < sms.size(); ++i) sms[i] = (inside.words[i / 32] >> (i % 32)) & 1;
  return true;
}

// The first `count` SMs of a set.
simt::SmSet take(simt::SmSet& from, unsigned count) {
  simt::SmSet taken;
  for (std::size_t i = 0; i < from.size() && count > 0; ++i) {
    if (!from[i]) continue;
    taken.set(i);
    --count;
  }
  from &= ~taken;
  return taken;
}

std::uint32_t g_splits = 0;  // guarded by State::mutex

CUresult get_resource(State&, const simt::SmSet& sms, CUdevResource* to, CUdevResourceType type) {
  if (!to) return CUDA_ERROR_INVALID_VALUE;
  if (type != CU_DEV_RESOURCE_TYPE_SM) return CUDA_ERROR_INVALID_RESOURCE_TYPE;
  *to = make_resource(sms, 0, 0, false);
  return CUDA_SUCCESS;
}

}  // namespace

extern "C" {

CUresult CUDAAPI cuDeviceGetDevResource(CUdevice device, CUdevResource* to, CUdevResourceType type) {
  return entry("cuDeviceGetDevResource", {}, [&](State& all, auto&) {
    if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
    if (!settings().green) return CUDA_ERROR_NOT_SUPPORTED;
    simt::SmSet sms;
    for (int i = 0; i < settings().sms; ++i) sms.set(std::size_t(i));
    return get_resource(all, sms, to, type);
  });
}

CUresult CUDAAPI cuCtxGetDevResource(CUcontext handle, CUdevResource* to, CUdevResourceType type) {
  return entry("cuCtxGetDevResource", {}, [&](State& all, auto&) {
    const auto context = all.contexts.find(handle);
    if (!context) return CUDA_ERROR_INVALID_CONTEXT;
    return get_resource(all, context->sms, to, type);
  });
}

CUresult CUDAAPI cuGreenCtxGetDevResource(CUgreenCtx handle, CUdevResource* to, CUdevResourceType type) {
  return entry("cuGreenCtxGetDevResource", {}, [&](State& all, auto&) {
    const auto green = all.greens.find(handle);
    if (!green) return CUDA_ERROR_INVALID_CONTEXT;
    return get_resource(all, green->context->sms, to, type);
  });
}

CUresult CUDAAPI cuDevSmResourceSplitByCount(CUdevResource* result, unsigned int* groups, const CUdevResource* input,
                                             CUdevResource* remaining, unsigned int flags, unsigned int least) {
  return entry("cuDevSmResourceSplitByCount", {}, [&](State&, auto&) {
    constexpr unsigned kIgnore = CU_DEV_SM_RESOURCE_SPLIT_IGNORE_SM_COSCHEDULING;
    constexpr unsigned kClusters = CU_DEV_SM_RESOURCE_SPLIT_MAX_POTENTIAL_CLUSTER_SIZE;
    if (!groups || !input || (flags & ~(kIgnore | kClusters)) != 0) return CUDA_ERROR_INVALID_VALUE;
    Inside inside;
    simt::SmSet sms;
    if (!read_resource(*input, inside, sms)) return CUDA_ERROR_INVALID_RESOURCE_TYPE;
    if (inside.split != 0) return CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION;  // needs a context of its own first
    const unsigned total = unsigned(sms.count());
    if (least > total || (result && *groups == 0)) return CUDA_ERROR_INVALID_VALUE;
    const ArchLimits& arch = arch_limits(settings().arch);
    const bool ignore = (flags & kIgnore) != 0;
    const unsigned smallest = ignore ? 2u : unsigned(arch.min_partition);
    const unsigned step = ignore ? 2u : unsigned(arch.partition_step);
    const unsigned size = (std::max(least, smallest) + step - 1) / step * step;
    const unsigned possible = total / size;
    if (!result) {
      *groups = possible;
      return CUDA_SUCCESS;
    }
    *groups = std::min(*groups, possible);
    if (*groups == 0) return CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION;
    const std::uint32_t split = ++g_splits;
    for (unsigned i = 0; i < *groups; ++i) result[i] = make_resource(take(sms, size), split, i, ignore);
    if (remaining) {
      *remaining = make_resource(sms, split, *groups, ignore);
      if (sms.none()) remaining->type = CU_DEV_RESOURCE_TYPE_INVALID;
    }
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuDevResourceGenerateDesc(CUdevResourceDesc* to, CUdevResource* resources, unsigned int count) {
  return entry("cuDevResourceGenerateDesc", {}, [&](State& all, auto&) {
    if (!to || !resources || count == 0) return CUDA_ERROR_INVALID_VALUE;
    auto made = std::make_shared<ResourceDescriptor>();
    Inside first{};
    for (unsigned i = 0; i < count; ++i) {
      Inside inside;
      simt::SmSet sms;
      if (!read_resource(resources[i], inside, sms)) return CUDA_ERROR_INVALID_RESOURCE_TYPE;
      if (i == 0) first = inside;
      // Several are merged only if they lie side by side as one split made them.
      if (inside.split != first.split || inside.place != first.place + i) return CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION;
      made->sms |= sms;
    }
    if (made->sms.none()) return CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION;
    made->resource = resources[0];
    *to = all.descriptors.add<CUdevResourceDesc>(made);
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuGreenCtxCreate(CUgreenCtx* to, CUdevResourceDesc handle, CUdevice device, unsigned int flags) {
  return entry("cuGreenCtxCreate", {.fail_class = "context", .failure = CUDA_ERROR_OUT_OF_MEMORY, .unsafe_in_capture = true},
               [&](State& all, auto&) {
    const auto descriptor = all.descriptors.find(handle);
    if (!to || !descriptor || flags != CU_GREEN_CTX_DEFAULT_STREAM) return CUDA_ERROR_INVALID_VALUE;
    if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
    if (!all.primary) {
      all.finding("a green context was made while the primary context was not active: each pays for its start");
      return CUDA_ERROR_INVALID_CONTEXT;
    }
    ++all.primary_retains;  // released when the green context is destroyed
    auto green = std::make_shared<Green>();
    green->context = all.new_context(ContextKind::green, all.primary_flags, descriptor->sms);
    green->resource = descriptor->resource;
    *to = all.greens.add<CUgreenCtx>(green);
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuGreenCtxDestroy(CUgreenCtx handle) {
  return entry("cuGreenCtxDestroy", {.after_loss = true}, [&](State& all, auto&) {
    const auto green = all.greens.find(handle);
    if (!green) return CUDA_ERROR_INVALID_CONTEXT;
    if (all.executor.pending_in(*green->context)) all.finding("a green context was destroyed while its work was in flight");
    if (green->context->current_in > 0) all.finding("a green context was destroyed while current in a thread");
    all.destroy_context(green->context);
    all.greens.retire(handle);
    if (all.primary_retains > 0) --all.primary_retains;
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuCtxFromGreenCtx(CUcontext* to, CUgreenCtx handle) {
  return entry("cuCtxFromGreenCtx", {}, [&](State& all, auto&) {
    const auto green = all.greens.find(handle);
    if (!to) return CUDA_ERROR_INVALID_VALUE;
    if (!green) return CUDA_ERROR_INVALID_CONTEXT;
    *to = reinterpret_cast<CUcontext>(green->context.get());
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuGreenCtxStreamCreate(CUstream* to, CUgreenCtx handle, unsigned int flags, int priority) {
  return entry("cuGreenCtxStreamCreate", {.fail_class = "stream", .failure = CUDA_ERROR_OUT_OF_MEMORY, .unsafe_in_capture = true},
               [&](State& all, auto&) {
    const auto green = all.greens.find(handle);
    if (!green) return CUDA_ERROR_INVALID_CONTEXT;
    if (!to || flags != CU_STREAM_NON_BLOCKING) return CUDA_ERROR_INVALID_VALUE;
    const auto stream = all.new_stream(green->context, flags, std::clamp(priority, -5, 0));
    *to = reinterpret_cast<CUstream>(stream.get());
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuGreenCtxGetId(CUgreenCtx handle, unsigned long long* to) {
  return entry("cuGreenCtxGetId", {}, [&](State& all, auto&) {
    const auto green = all.greens.find(handle);
    if (!green) return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    if (!to) return CUDA_ERROR_INVALID_VALUE;
    *to = green->context->id;
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuStreamGetGreenCtx(CUstream handle, CUgreenCtx* to) {
  return entry("cuStreamGetGreenCtx", {}, [&](State& all, auto&) {
    std::shared_ptr<Stream> stream;
    if (const CUresult result = all.resolve(handle, stream); result != CUDA_SUCCESS) return result;
    if (!to) return CUDA_ERROR_INVALID_VALUE;
    *to = nullptr;
    for (const auto& [key, green] : all.greens.live()) {
      if (green->context == stream->context) *to = reinterpret_cast<CUgreenCtx>(key);
    }
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuStreamGetCtx(CUstream handle, CUcontext* to) {
  return entry("cuStreamGetCtx", {}, [&](State& all, auto&) {
    std::shared_ptr<Stream> stream;
    if (const CUresult result = all.resolve(handle, stream); result != CUDA_SUCCESS) return result;
    if (!to) return CUDA_ERROR_INVALID_VALUE;
    *to = reinterpret_cast<CUcontext>(stream->context.get());
    return CUDA_SUCCESS;
  });
}

// 12050: a stream of a green context answers with that and the primary context (cuda.h).
CUresult CUDAAPI cuStreamGetCtx_v2(CUstream handle, CUcontext* to, CUgreenCtx* green_to) {
  CUgreenCtx green = nullptr;
  CUcontext context = nullptr;
  CUresult result = cuStreamGetGreenCtx(handle, &green);
  if (result == CUDA_SUCCESS) result = cuStreamGetCtx(handle, &context);
  if (to) *to = green ? reinterpret_cast<CUcontext>(state().primary.get()) : context;
  if (green_to) *green_to = green;
  return result;
}

}  // extern "C"
