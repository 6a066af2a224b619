// The entry points of the CUDA driver that we use, each with the version of its typedef in cudaTypedefs.h: that version is
// asked for, so that a later driver serves the struct layouts that this code was compiled with.
#pragma once

#define SPLITWISER_DRIVER_CALLS(X)                \
  X(Init, 2000)                                   \
  X(GetErrorName, 6000)                           \
  X(GetErrorString, 6000)                         \
  X(DeviceGetCount, 2000)                         \
  X(DeviceGet, 2000)                              \
  X(DeviceGetName, 2000)                          \
  X(DeviceGetAttribute, 2000)                     \
  X(DeviceTotalMem, 3020)                         \
  X(DevicePrimaryCtxRetain, 7000)                 \
  X(DevicePrimaryCtxRelease, 11000)               \
  X(DevicePrimaryCtxSetFlags, 11000)              \
  X(DevicePrimaryCtxGetState, 7000)               \
  X(CtxPushCurrent, 4000)                         \
  X(CtxPopCurrent, 4000)                          \
  X(CtxGetStreamPriorityRange, 5050)              \
  X(MemGetInfo, 3020)                             \
  X(MemGetAllocationGranularity, 10020)           \
  X(MemAddressReserve, 10020)                     \
  X(MemAddressFree, 10020)                        \
  X(MemCreate, 10020)                             \
  X(MemRelease, 10020)                            \
  X(MemMap, 10020)                                \
  X(MemUnmap, 10020)                              \
  X(MemSetAccess, 10020)                          \
  X(MemHostAlloc, 2020)                           \
  X(MemFreeHost, 2000)                            \
  X(MemcpyHtoDAsync, 3020)                        \
  X(MemcpyDtoHAsync, 3020)                        \
  X(MemsetD8Async, 3020)                          \
  X(StreamCreateWithPriority, 5050)               \
  X(StreamDestroy, 4000)                          \
  X(StreamSynchronize, 2000)                      \
  X(StreamWaitEvent, 3020)                        \
  X(EventCreate, 2000)                            \
  X(EventDestroy, 4000)                           \
  X(EventQuery, 2000)                             \
  X(EventRecord, 2000)                            \
  X(EventSynchronize, 2000)                       \
  X(LibraryLoadData, 12000)                       \
  X(LibraryUnload, 12000)                         \
  X(LibraryGetKernelCount, 12040)                 \
  X(LibraryEnumerateKernels, 12040)               \
  X(KernelGetName, 12030)                         \
  X(KernelGetFunction, 12000)                     \
  X(KernelGetAttribute, 12000)                    \
  X(KernelSetAttribute, 12000)                    \
  X(KernelGetParamInfo, 12040)                    \
  X(LaunchKernelEx, 11060)                        \
  X(StreamBeginCapture, 10010)                    \
  X(StreamEndCapture, 10000)                      \
  X(GraphInstantiateWithFlags, 11040)             \
  X(GraphUpload, 11010)                           \
  X(GraphLaunch, 10000)                           \
  X(GraphExecDestroy, 10000)                      \
  X(GraphDestroy, 10000)

// Null where the driver has none: a partition that needs them is not to be had.
#define SPLITWISER_OPTIONAL_DRIVER_CALLS(X) \
  X(DeviceGetExecAffinitySupport, 11040)    \
  X(CtxCreate, 12050)                       \
  X(CtxDestroy, 4000)                       \
  X(CtxGetExecAffinity, 11040)              \
  X(DeviceGetDevResource, 12040)            \
  X(DevSmResourceSplitByCount, 12040)       \
  X(DevResourceGenerateDesc, 12040)         \
  X(GreenCtxCreate, 12040)                  \
  X(GreenCtxDestroy, 12040)                 \
  X(CtxFromGreenCtx, 12040)                 \
  X(GreenCtxGetDevResource, 12040)          \
  X(GreenCtxStreamCreate, 12050)
