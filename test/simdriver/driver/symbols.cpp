#include "symbols.hpp"

#include <cstring>

#include <cuda.h>

// Variants that cuda.h declares for itself only, or not at all.
extern "C" {
CUresult CUDAAPI cuCtxCreate_v3(CUcontext*, CUexecAffinityParam*, int, unsigned int, CUdevice);
CUresult CUDAAPI cuCtxCreate_v2(CUcontext*, unsigned int, CUdevice);
}

// Base name, function, version. cuEventElapsedTime: both variants are one function.
#define SIMDRIVER_SYMBOLS(X) \
  X(cuDevicePrimaryCtxRetain, cuDevicePrimaryCtxRetain, 7000) \
  X(cuDevicePrimaryCtxRelease, cuDevicePrimaryCtxRelease, 11000) \
  X(cuDevicePrimaryCtxSetFlags, cuDevicePrimaryCtxSetFlags, 11000) \
  X(cuDevicePrimaryCtxGetState, cuDevicePrimaryCtxGetState, 7000) \
  X(cuDevicePrimaryCtxReset, cuDevicePrimaryCtxReset, 11000) \
  X(cuCtxCreate, cuCtxCreate_v4, 12050) \
  X(cuCtxCreate, cuCtxCreate_v3, 11040) \
  X(cuCtxCreate, cuCtxCreate_v2, 3020) \
  X(cuCtxDestroy, cuCtxDestroy, 4000) \
  X(cuCtxPushCurrent, cuCtxPushCurrent, 4000) \
  X(cuCtxPopCurrent, cuCtxPopCurrent, 4000) \
  X(cuCtxSetCurrent, cuCtxSetCurrent, 4000) \
  X(cuCtxGetCurrent, cuCtxGetCurrent, 4000) \
  X(cuCtxGetDevice, cuCtxGetDevice, 2000) \
  X(cuCtxGetFlags, cuCtxGetFlags, 7000) \
  X(cuCtxGetId, cuCtxGetId, 12000) \
  X(cuCtxSynchronize, cuCtxSynchronize, 2000) \
  X(cuCtxGetStreamPriorityRange, cuCtxGetStreamPriorityRange, 5050) \
  X(cuCtxGetExecAffinity, cuCtxGetExecAffinity, 11040) \
  X(cuMemcpyHtoD, cuMemcpyHtoD, 3020) \
  X(cuMemcpyDtoH, cuMemcpyDtoH, 3020) \
  X(cuMemcpyDtoD, cuMemcpyDtoD, 3020) \
  X(cuMemcpyHtoDAsync, cuMemcpyHtoDAsync, 3020) \
  X(cuMemcpyDtoHAsync, cuMemcpyDtoHAsync, 3020) \
  X(cuMemcpyDtoDAsync, cuMemcpyDtoDAsync, 3020) \
  X(cuMemsetD8, cuMemsetD8, 3020) \
  X(cuMemsetD16, cuMemsetD16, 3020) \
  X(cuMemsetD32, cuMemsetD32, 3020) \
  X(cuMemsetD8Async, cuMemsetD8Async, 3020) \
  X(cuMemsetD16Async, cuMemsetD16Async, 3020) \
  X(cuMemsetD32Async, cuMemsetD32Async, 3020) \
  X(cuDeviceGetCount, cuDeviceGetCount, 2000) \
  X(cuDeviceGet, cuDeviceGet, 2000) \
  X(cuDeviceGetName, cuDeviceGetName, 2000) \
  X(cuDeviceGetUuid, cuDeviceGetUuid, 11040) \
  X(cuDeviceGetPCIBusId, cuDeviceGetPCIBusId, 4010) \
  X(cuDeviceTotalMem, cuDeviceTotalMem, 3020) \
  X(cuDeviceGetAttribute, cuDeviceGetAttribute, 2000) \
  X(cuDeviceGetExecAffinitySupport, cuDeviceGetExecAffinitySupport, 11040) \
  X(cuEventCreate, cuEventCreate, 2000) \
  X(cuEventDestroy, cuEventDestroy, 4000) \
  X(cuEventRecord, cuEventRecord, 2000) \
  X(cuEventRecordWithFlags, cuEventRecordWithFlags, 11010) \
  X(cuEventQuery, cuEventQuery, 2000) \
  X(cuEventSynchronize, cuEventSynchronize, 2000) \
  X(cuEventElapsedTime, cuEventElapsedTime, 2000) \
  X(cuEventElapsedTime, cuEventElapsedTime, 12080) \
  X(cuGraphCreate, cuGraphCreate, 10000) \
  X(cuGraphDestroy, cuGraphDestroy, 10000) \
  X(cuGraphAddKernelNode, cuGraphAddKernelNode, 12000) \
  X(cuGraphAddEmptyNode, cuGraphAddEmptyNode, 10000) \
  X(cuGraphAddNode, cuGraphAddNode, 12030) \
  X(cuGraphGetNodes, cuGraphGetNodes, 10000) \
  X(cuGraphNodeGetType, cuGraphNodeGetType, 10000) \
  X(cuGraphKernelNodeGetParams, cuGraphKernelNodeGetParams, 12000) \
  X(cuGraphInstantiateWithFlags, cuGraphInstantiateWithFlags, 11040) \
  X(cuGraphInstantiateWithParams, cuGraphInstantiateWithParams, 12000) \
  X(cuGraphUpload, cuGraphUpload, 11010) \
  X(cuGraphLaunch, cuGraphLaunch, 10000) \
  X(cuGraphExecDestroy, cuGraphExecDestroy, 10000) \
  X(cuDeviceGetDevResource, cuDeviceGetDevResource, 12040) \
  X(cuCtxGetDevResource, cuCtxGetDevResource, 12040) \
  X(cuGreenCtxGetDevResource, cuGreenCtxGetDevResource, 12040) \
  X(cuDevSmResourceSplitByCount, cuDevSmResourceSplitByCount, 12040) \
  X(cuDevResourceGenerateDesc, cuDevResourceGenerateDesc, 12040) \
  X(cuGreenCtxCreate, cuGreenCtxCreate, 12040) \
  X(cuGreenCtxDestroy, cuGreenCtxDestroy, 12040) \
  X(cuCtxFromGreenCtx, cuCtxFromGreenCtx, 12040) \
  X(cuGreenCtxStreamCreate, cuGreenCtxStreamCreate, 12050) \
  X(cuGreenCtxGetId, cuGreenCtxGetId, 12090) \
  X(cuStreamGetGreenCtx, cuStreamGetGreenCtx, 12040) \
  X(cuStreamGetCtx, cuStreamGetCtx, 9020) \
  X(cuStreamGetCtx, cuStreamGetCtx_v2, 12050) \
  X(cuInit, cuInit, 2000) \
  X(cuDriverGetVersion, cuDriverGetVersion, 2020) \
  X(cuGetProcAddress, cuGetProcAddress, 12000) \
  X(cuGetErrorName, cuGetErrorName, 6000) \
  X(cuGetErrorString, cuGetErrorString, 6000) \
  X(cuLaunchKernel, cuLaunchKernel, 4000) \
  X(cuLaunchKernelEx, cuLaunchKernelEx, 11060) \
  X(cuLaunchHostFunc, cuLaunchHostFunc, 10000) \
  X(cuLibraryLoadData, cuLibraryLoadData, 12000) \
  X(cuLibraryUnload, cuLibraryUnload, 12000) \
  X(cuLibraryGetKernel, cuLibraryGetKernel, 12000) \
  X(cuLibraryGetKernelCount, cuLibraryGetKernelCount, 12040) \
  X(cuLibraryEnumerateKernels, cuLibraryEnumerateKernels, 12040) \
  X(cuKernelGetFunction, cuKernelGetFunction, 12000) \
  X(cuKernelGetName, cuKernelGetName, 12030) \
  X(cuKernelGetAttribute, cuKernelGetAttribute, 12000) \
  X(cuKernelSetAttribute, cuKernelSetAttribute, 12000) \
  X(cuKernelGetParamInfo, cuKernelGetParamInfo, 12040) \
  X(cuFuncGetAttribute, cuFuncGetAttribute, 2020) \
  X(cuFuncSetAttribute, cuFuncSetAttribute, 9000) \
  X(cuFuncGetParamInfo, cuFuncGetParamInfo, 12040) \
  X(cuFuncGetName, cuFuncGetName, 12030) \
  X(cuOccupancyMaxActiveBlocksPerMultiprocessor, cuOccupancyMaxActiveBlocksPerMultiprocessor, 6050) \
  X(cuMemGetInfo, cuMemGetInfo, 3020) \
  X(cuMemGetAllocationGranularity, cuMemGetAllocationGranularity, 10020) \
  X(cuMemAddressReserve, cuMemAddressReserve, 10020) \
  X(cuMemAddressFree, cuMemAddressFree, 10020) \
  X(cuMemCreate, cuMemCreate, 10020) \
  X(cuMemRelease, cuMemRelease, 10020) \
  X(cuMemMap, cuMemMap, 10020) \
  X(cuMemUnmap, cuMemUnmap, 10020) \
  X(cuMemSetAccess, cuMemSetAccess, 10020) \
  X(cuMemGetAccess, cuMemGetAccess, 10020) \
  X(cuMemAlloc, cuMemAlloc, 3020) \
  X(cuMemFree, cuMemFree, 3020) \
  X(cuMemHostAlloc, cuMemHostAlloc, 2020) \
  X(cuMemAllocHost, cuMemAllocHost, 3020) \
  X(cuMemFreeHost, cuMemFreeHost, 2000) \
  X(cuMemHostRegister, cuMemHostRegister, 6050) \
  X(cuMemHostUnregister, cuMemHostUnregister, 4000) \
  X(cuMemHostGetDevicePointer, cuMemHostGetDevicePointer, 3020) \
  X(cuMemHostGetFlags, cuMemHostGetFlags, 2030) \
  X(cuStreamCreate, cuStreamCreate, 2000) \
  X(cuStreamCreateWithPriority, cuStreamCreateWithPriority, 5050) \
  X(cuStreamDestroy, cuStreamDestroy, 4000) \
  X(cuStreamSynchronize, cuStreamSynchronize, 2000) \
  X(cuStreamQuery, cuStreamQuery, 2000) \
  X(cuStreamWaitEvent, cuStreamWaitEvent, 3020) \
  X(cuStreamGetPriority, cuStreamGetPriority, 5050) \
  X(cuStreamGetFlags, cuStreamGetFlags, 5050) \
  X(cuStreamGetId, cuStreamGetId, 12000) \
  X(cuStreamBeginCapture, cuStreamBeginCapture, 10010) \
  X(cuStreamEndCapture, cuStreamEndCapture, 10000) \
  X(cuStreamIsCapturing, cuStreamIsCapturing, 10000)

namespace simdriver {
namespace {

struct Symbol {
  const char* name;
  int version;
  void* address;
};

#define ROW(name, function, version) {#name, version, reinterpret_cast<void*>(&function)},
const Symbol kSymbols[] = {SIMDRIVER_SYMBOLS(ROW)};
#undef ROW

}  // namespace

SymbolAnswer find_symbol(const char* name, int version, int driver) {
  SymbolAnswer answer;
  int best = -1;
  for (const Symbol& symbol : kSymbols) {
    if (std::strcmp(symbol.name, name) != 0 || symbol.version > driver) continue;
    answer.known = true;
    if (symbol.version > version || symbol.version <= best) continue;
    best = symbol.version;
    answer.address = symbol.address;
  }
  return answer;
}

}  // namespace simdriver
