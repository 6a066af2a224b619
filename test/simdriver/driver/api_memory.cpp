// Memory: the virtual-memory calls, plain allocations, pinned memory.
#include "state.hpp"

using namespace simdriver;

namespace {

constexpr CallRules kAlloc{.fail_class = "alloc", .failure = CUDA_ERROR_OUT_OF_MEMORY, .unsafe_in_capture = true};
constexpr CallRules kHost{.fail_class = "host", .failure = CUDA_ERROR_OUT_OF_MEMORY, .unsafe_in_capture = true};
constexpr CallRules kUnsafe{.unsafe_in_capture = true};

// A refusal that a correct program never sees is a finding; running out of memory is not.
CUresult noted(State& all, const char* name, CUresult result, const std::string& why) {
  if (!why.empty()) all.finding(std::string(name) + ": " + why);
  return result;
}

bool on_this_device(const CUmemLocation& location) { return location.type == CU_MEM_LOCATION_TYPE_DEVICE && location.id == 0; }

CUresult check_properties(const CUmemAllocationProp* properties) {
  if (!properties || properties->type != CU_MEM_ALLOCATION_TYPE_PINNED) return CUDA_ERROR_INVALID_VALUE;
  if (!on_this_device(properties->location)) return CUDA_ERROR_INVALID_DEVICE;
  const unsigned handles = properties->requestedHandleTypes;
  if ((handles & ~unsigned(CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR)) != 0) return CUDA_ERROR_NOT_SUPPORTED;
  return CUDA_SUCCESS;
}

}  // namespace

extern "C" {

CUresult CUDAAPI cuMemGetInfo(std::size_t* free_bytes, std::size_t* total) {
  return entry("cuMemGetInfo", {}, [&](State& all, auto&) {
    if (!all.current()) return CUDA_ERROR_INVALID_CONTEXT;
    if (free_bytes) *free_bytes = std::size_t(all.memory.total() - all.memory.used());
    if (total) *total = std::size_t(all.memory.total());
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuMemGetAllocationGranularity(std::size_t* to, const CUmemAllocationProp* properties,
                                               CUmemAllocationGranularity_flags) {
  return entry("cuMemGetAllocationGranularity", {}, [&](State&, auto&) {
    const CUresult result = to ? check_properties(properties) : CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS) *to = kGranularity;
    return result;
  });
}

CUresult CUDAAPI cuMemAddressReserve(CUdeviceptr* to, std::size_t bytes, std::size_t align, CUdeviceptr hint,
                                     unsigned long long flags) {
  return entry("cuMemAddressReserve", kUnsafe, [&](State& all, auto&) {
    if (!to || flags != 0) return CUDA_ERROR_INVALID_VALUE;
    std::string why;
    std::uint64_t at = 0;
    const CUresult result = all.memory.reserve(bytes, align, hint, at, why);
    *to = at;
    return noted(all, "cuMemAddressReserve", result, why);
  });
}

CUresult CUDAAPI cuMemAddressFree(CUdeviceptr at, std::size_t bytes) {
  return entry("cuMemAddressFree", kUnsafe, [&](State& all, auto&) {
    std::string why;
    const CUresult result = all.memory.free_reservation(at, bytes, why);
    return noted(all, "cuMemAddressFree", result, why);
  });
}

CUresult CUDAAPI cuMemCreate(CUmemGenericAllocationHandle* to, std::size_t bytes, const CUmemAllocationProp* properties,
                             unsigned long long flags) {
  return entry("cuMemCreate", kAlloc, [&](State& all, auto&) {
    if (!to || flags != 0) return CUDA_ERROR_INVALID_VALUE;
    if (const CUresult result = check_properties(properties); result != CUDA_SUCCESS) return result;
    std::string why;
    std::uint64_t handle = 0;
    const CUresult result = all.memory.create(bytes, handle, why);
    *to = handle;
    return noted(all, "cuMemCreate", result, why);
  });
}

CUresult CUDAAPI cuMemRelease(CUmemGenericAllocationHandle handle) {
  return entry("cuMemRelease", kUnsafe, [&](State& all, auto&) {
    std::string why;
    const CUresult result = all.memory.release(handle, why);
    return noted(all, "cuMemRelease", result, why);
  });
}

CUresult CUDAAPI cuMemMap(CUdeviceptr at, std::size_t bytes, std::size_t offset, CUmemGenericAllocationHandle handle,
                          unsigned long long flags) {
  return entry("cuMemMap", kUnsafe, [&](State& all, auto&) {
    if (flags != 0) return CUDA_ERROR_INVALID_VALUE;
    std::string why;
    const CUresult result = all.memory.map(at, bytes, offset, handle, why);
    return noted(all, "cuMemMap", result, why);
  });
}

CUresult CUDAAPI cuMemUnmap(CUdeviceptr at, std::size_t bytes) {
  return entry("cuMemUnmap", kUnsafe, [&](State& all, auto& lock) {
    if (all.executor.pending() != 0 && all.lost == CUDA_SUCCESS) {
      all.finding("cuMemUnmap was called while work was in flight: nothing waits for it on a real device");
      all.executor.wait_all(lock);  // here it would end the process
    }
    std::string why;
    const CUresult result = all.memory.unmap(at, bytes, why);
    return noted(all, "cuMemUnmap", result, why);
  });
}

CUresult CUDAAPI cuMemSetAccess(CUdeviceptr at, std::size_t bytes, const CUmemAccessDesc* access, std::size_t count) {
  return entry("cuMemSetAccess", kUnsafe, [&](State& all, auto&) {
    if (!access || count != 1) return CUDA_ERROR_INVALID_VALUE;
    if (!on_this_device(access->location)) return CUDA_ERROR_INVALID_DEVICE;
    if (access->flags != CU_MEM_ACCESS_FLAGS_PROT_READ && access->flags != CU_MEM_ACCESS_FLAGS_PROT_READWRITE) {
      return CUDA_ERROR_NOT_SUPPORTED;
    }
    std::string why;
    const CUresult result = all.memory.set_access(at, bytes, access->flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE, why);
    return noted(all, "cuMemSetAccess", result, why);
  });
}

CUresult CUDAAPI cuMemGetAccess(unsigned long long* to, const CUmemLocation* location, CUdeviceptr at) {
  return entry("cuMemGetAccess", {}, [&](State& all, auto&) {
    if (!to || !location || !on_this_device(*location)) return CUDA_ERROR_INVALID_VALUE;
    *to = all.memory.access(at);
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuMemAlloc(CUdeviceptr* to, std::size_t bytes) {
  return entry("cuMemAlloc", kAlloc, [&](State& all, auto&) {
    if (!all.current()) return CUDA_ERROR_INVALID_CONTEXT;
    if (!to || bytes == 0) return CUDA_ERROR_INVALID_VALUE;
    std::uint64_t at = 0;
    const CUresult result = all.memory.allocate(bytes, at);
    if (result == CUDA_SUCCESS) *to = at;
    return result;
  });
}

CUresult CUDAAPI cuMemFree(CUdeviceptr at) {
  return entry("cuMemFree", kUnsafe, [&](State& all, auto& lock) {
    if (!all.current()) return CUDA_ERROR_INVALID_CONTEXT;
    if (at == 0) return CUDA_SUCCESS;
    if (all.executor.pending() != 0) all.report.host_sync("cuMemFree");  // it waits for the device
    all.executor.wait_all(lock);
    std::string why;
    const CUresult result = all.memory.free(at, why);
    return noted(all, "cuMemFree", result, why);
  });
}

CUresult CUDAAPI cuMemHostAlloc(void** to, std::size_t bytes, unsigned int flags) {
  return entry("cuMemHostAlloc", kHost, [&](State& all, auto&) {
    if (!all.current()) return CUDA_ERROR_INVALID_CONTEXT;
    if (!to || flags > 7) return CUDA_ERROR_INVALID_VALUE;
    return all.memory.allocate_host(bytes, flags, *to);
  });
}

CUresult CUDAAPI cuMemAllocHost(void** to, std::size_t bytes) {
  return entry("cuMemAllocHost", kHost, [&](State& all, auto&) {
    if (!all.current()) return CUDA_ERROR_INVALID_CONTEXT;
    return to ? all.memory.allocate_host(bytes, 0, *to) : CUDA_ERROR_INVALID_VALUE;
  });
}

CUresult CUDAAPI cuMemFreeHost(void* at) {
  return entry("cuMemFreeHost", kUnsafe, [&](State& all, auto& lock) {
    if (!all.current()) return CUDA_ERROR_INVALID_CONTEXT;
    if (all.executor.pending_on(static_cast<const std::byte*>(at), 1)) {
      all.finding("cuMemFreeHost was called while a copy of that memory was in flight");
    }
    all.executor.wait_all(lock);
    std::string why;
    const CUresult result = all.memory.free_host(at, why);
    return noted(all, "cuMemFreeHost", result, why);
  });
}

CUresult CUDAAPI cuMemHostRegister(void* at, std::size_t bytes, unsigned int flags) {
  return entry("cuMemHostRegister", kHost, [&](State& all, auto&) {
    if (!all.current()) return CUDA_ERROR_INVALID_CONTEXT;
    return all.memory.register_host(at, bytes, flags);
  });
}

CUresult CUDAAPI cuMemHostUnregister(void* at) {
  return entry("cuMemHostUnregister", kUnsafe, [&](State& all, auto& lock) {
    if (!all.current()) return CUDA_ERROR_INVALID_CONTEXT;
    if (all.executor.pending_on(static_cast<const std::byte*>(at), 1)) {
      all.finding("cuMemHostUnregister was called while a copy of that memory was in flight");
    }
    all.executor.wait_all(lock);
    std::string why;
    const CUresult result = all.memory.unregister_host(at, why);
    return noted(all, "cuMemHostUnregister", result, why);
  });
}

CUresult CUDAAPI cuMemHostGetDevicePointer(CUdeviceptr* to, void* at, unsigned int flags) {
  return entry("cuMemHostGetDevicePointer", {}, [&](State& all, auto&) {
    if (!to || flags != 0 || all.memory.where(at, 1) != Where::pinned) return CUDA_ERROR_INVALID_VALUE;
    *to = reinterpret_cast<CUdeviceptr>(at);  // one address space
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuMemHostGetFlags(unsigned int* to, void* at) {
  return entry("cuMemHostGetFlags", {}, [&](State& all, auto&) {
    return to && all.memory.host_flags(at, *to) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  });
}

}  // extern "C"
