// Devices: there is one, of the architecture, size and memory that the settings say.
#include <cstdio>
#include <cstring>
#include <optional>

#include "state.hpp"

using namespace simdriver;

namespace {

std::optional<int> attribute(CUdevice_attribute which) {
  const Settings& from = settings();
  const simt::SmLimits sm = machine().limits();
  const bool hopper = from.arch >= 90;
  switch (which) {
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK: return 1024;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X:
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y: return 1024;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z: return 64;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X: return 0x7fffffff;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y:
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z: return 65535;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK: return 48 * 1024;
    case CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY: return 64 * 1024;
    case CU_DEVICE_ATTRIBUTE_WARP_SIZE: return 32;
    case CU_DEVICE_ATTRIBUTE_MAX_PITCH: return 0x7fffffff;
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK: return 65536;
    case CU_DEVICE_ATTRIBUTE_CLOCK_RATE: return 1'500'000;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: return from.sms;
    case CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY: return 1;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_MODE: return CU_COMPUTEMODE_DEFAULT;
    case CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS: return 1;
    case CU_DEVICE_ATTRIBUTE_PCI_BUS_ID: return 1;
    case CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID:
    case CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID: return 0;
    case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE: return 1'000'000;
    case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH: return 1024;
    case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE: return 32 << 20;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR: return sm.threads;
    case CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT: return 2;
    case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING: return 1;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: return from.major();
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: return from.minor();
    case CU_DEVICE_ATTRIBUTE_STREAM_PRIORITIES_SUPPORTED: return 1;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR: return sm.shared_bytes;
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR: return sm.registers;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_PREEMPTION_SUPPORTED: return 1;
    case CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM: return 1;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: return sm.shared_bytes_per_block;
    case CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED: return 1;
    case CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED: return 1;
    case CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED: return 1;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR: return sm.blocks;
    case CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK: return sm.shared_bytes_reserved;
    case CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH: return hopper ? 1 : 0;
    case CU_DEVICE_ATTRIBUTE_TENSOR_MAP_ACCESS_SUPPORTED: return hopper ? 1 : 0;
    case CU_DEVICE_ATTRIBUTE_MPS_ENABLED: return from.mps ? 1 : 0;
    case CU_DEVICE_ATTRIBUTE_HOST_NUMA_ID: return -1;
    // Features that the device does not have; whoever asks is told so.
    case CU_DEVICE_ATTRIBUTE_KERNEL_EXEC_TIMEOUT:
    case CU_DEVICE_ATTRIBUTE_INTEGRATED:
    case CU_DEVICE_ATTRIBUTE_ECC_ENABLED:
    case CU_DEVICE_ATTRIBUTE_TCC_DRIVER:
    case CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY:
    case CU_DEVICE_ATTRIBUTE_MULTI_GPU_BOARD:
    case CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS:
    case CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS:
    case CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH:
    case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_FABRIC_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_MULTICAST_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_NUMA_CONFIG: return 0;
    default: return std::nullopt;
  }
}

CUresult check(CUdevice device, const void* to) {
  if (!to) return CUDA_ERROR_INVALID_VALUE;
  return device == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

}  // namespace

extern "C" {

CUresult CUDAAPI cuDeviceGetCount(int* to) {
  return entry("cuDeviceGetCount", {.after_loss = true}, [&](State&, auto&) {
    if (to) *to = 1;
    return check(0, to);
  });
}

CUresult CUDAAPI cuDeviceGet(CUdevice* to, int ordinal) {
  return entry("cuDeviceGet", {.after_loss = true}, [&](State&, auto&) {
    const CUresult result = check(ordinal, to);
    if (result == CUDA_SUCCESS) *to = 0;
    return result;
  });
}

CUresult CUDAAPI cuDeviceGetName(char* to, int length, CUdevice device) {
  return entry("cuDeviceGetName", {.after_loss = true}, [&](State&, auto&) {
    const CUresult result = length > 0 ? check(device, to) : CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS) {
      std::snprintf(to, std::size_t(length), "Simulated GPU sm_%d, %d SMs", settings().arch, settings().sms);
    }
    return result;
  });
}

CUresult CUDAAPI cuDeviceGetUuid(CUuuid* to, CUdevice device) {
  return entry("cuDeviceGetUuid", {.after_loss = true}, [&](State&, auto&) {
    const CUresult result = check(device, to);
    if (result == CUDA_SUCCESS) std::memcpy(to->bytes, "simulated device", sizeof to->bytes);
    return result;
  });
}

CUresult CUDAAPI cuDeviceGetPCIBusId(char* to, int length, CUdevice device) {
  return entry("cuDeviceGetPCIBusId", {.after_loss = true}, [&](State&, auto&) {
    const CUresult result = length >= 13 ? check(device, to) : CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS) std::snprintf(to, std::size_t(length), "0000:01:00.0");
    return result;
  });
}

CUresult CUDAAPI cuDeviceTotalMem(std::size_t* to, CUdevice device) {
  return entry("cuDeviceTotalMem", {.after_loss = true}, [&](State& all, auto&) {
    const CUresult result = check(device, to);
    if (result == CUDA_SUCCESS) *to = std::size_t(all.memory.total());
    return result;
  });
}

CUresult CUDAAPI cuDeviceGetAttribute(int* to, CUdevice_attribute which, CUdevice device) {
  return entry("cuDeviceGetAttribute", {.after_loss = true}, [&](State& all, auto&) {
    const CUresult result = check(device, to);
    if (result != CUDA_SUCCESS) return result;
    const auto value = attribute(which);
    if (!value) {
      all.finding("device attribute " + std::to_string(int(which)) + " is not simulated");
      return CUDA_ERROR_INVALID_VALUE;
    }
    *to = *value;
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuDeviceGetExecAffinitySupport(int* to, CUexecAffinityType type, CUdevice device) {
  return entry("cuDeviceGetExecAffinitySupport", {.after_loss = true}, [&](State&, auto&) {
    const CUresult result = check(device, to);
    if (result != CUDA_SUCCESS) return result;
    if (type != CU_EXEC_AFFINITY_TYPE_SM_COUNT) return CUDA_ERROR_INVALID_VALUE;
    *to = settings().mps && settings().arch >= 70 ? 1 : 0;
    return CUDA_SUCCESS;
  });
}

}  // extern "C"
