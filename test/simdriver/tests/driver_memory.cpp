// Memory: mapped by the rules, poisoned, counted, never unmapped under work in flight.
#include <cstring>
#include <thread>

#include "driver_test.hpp"

using namespace simdriver_test;

namespace {
std::uint32_t* words(CUdeviceptr at) { return reinterpret_cast<std::uint32_t*>(at); }
}  // namespace

CASE(memory_is_mapped_by_the_rules) {
  Device device;
  CUmemAllocationProp properties{};
  properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties.location = {CU_MEM_LOCATION_TYPE_DEVICE, {0}};
  properties.requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
  std::size_t step = 0;
  OK(CU(cuMemGetAllocationGranularity)(&step, &properties, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
  CHECK(step == 2u << 20);
  CUdeviceptr at = 0;
  CUmemGenericAllocationHandle handle = 0, none = 0;
  FINDS(EXPECT(CU(cuMemAddressReserve)(&at, step + 4096, 0, 0, 0), CUDA_ERROR_INVALID_VALUE));
  OK(CU(cuMemAddressReserve)(&at, 4 * step, 0, 0, 0));
  FINDS(EXPECT(CU(cuMemCreate)(&none, 4096, &properties, 0), CUDA_ERROR_INVALID_VALUE));
  OK(CU(cuMemCreate)(&handle, 2 * step, &properties, 0));
  FINDS(EXPECT(CU(cuMemMap)(at, step, 0, handle, 0), CUDA_ERROR_INVALID_VALUE));
  OK(CU(cuMemMap)(at, 2 * step, 0, handle, 0));
  const CUstream stream = new_stream();
  FINDS(EXPECT(CU(cuMemsetD8Async)(at, 0, 16, stream), CUDA_ERROR_INVALID_VALUE));  // no access yet
  CUmemAccessDesc access{{CU_MEM_LOCATION_TYPE_DEVICE, {0}}, CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
  OK(CU(cuMemSetAccess)(at, 2 * step, &access, 1));
  unsigned char fresh[4] = {};
  OK(CU(cuMemcpyDtoH)(fresh, at + step, 4));
  CHECK(fresh[0] == 0xff && fresh[3] == 0xff);  // poisoned
  FINDS(EXPECT(CU(cuMemcpyDtoH)(fresh, at + 2 * step - 2, 4), CUDA_ERROR_INVALID_VALUE));  // beyond the end
  OK(CU(cuMemRelease)(handle));
  FINDS(EXPECT(CU(cuMemAddressFree)(at, 4 * step), CUDA_ERROR_INVALID_VALUE));  // still mapped
  const CUdeviceptr flags = new_memory(256);
  OK(CU(cuMemsetD8)(flags, 0, 256));
  Meet held{words(flags), words(flags) + 32}, free{words(flags) + 32, words(flags)};
  OK(launch(device.meet, stream, &held, 1, 32));
  OK(launch(device.meet, new_stream(), &free, 1, 32));
  OK(CU(cuCtxSynchronize)());
  OK(CU(cuMemUnmap)(at, 2 * step));
  OK(CU(cuMemAddressFree)(at, 4 * step));
}

CASE(unmapping_while_work_is_in_flight_is_found) {
  Device device;
  CUmemAllocationProp properties{};
  properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties.location = {CU_MEM_LOCATION_TYPE_DEVICE, {0}};
  const std::size_t step = 2u << 20;
  CUdeviceptr at = 0;
  CUmemGenericAllocationHandle handle = 0;
  OK(CU(cuMemAddressReserve)(&at, step, 0, 0, 0));
  OK(CU(cuMemCreate)(&handle, step, &properties, 0));
  OK(CU(cuMemMap)(at, step, 0, handle, 0));
  const CUdeviceptr flags = new_memory(256);
  OK(CU(cuMemsetD8)(flags, 0, 256));
  Meet held{words(flags), words(flags) + 32}, free{words(flags) + 32, words(flags)};
  OK(launch(device.meet, new_stream(), &held, 1, 32));
  const CUstream other = new_stream();
  std::thread freeing([&] {  // ends the kernel only once the unmap has begun to wait for it
    OK(CU(cuCtxPushCurrent)(device.context));
    while (findings() == 0) std::this_thread::yield();
    OK(launch(device.meet, other, &free, 1, 32));
  });
  FINDS(OK(CU(cuMemUnmap)(at, step)));
  freeing.join();
}

CASE(running_out_of_memory, {{{"SIMDRIVER_MEMORY", "16M"}}}) {
  Device device;
  std::size_t free = 0, total = 0;
  OK(CU(cuMemGetInfo)(&free, &total));
  CHECK(total == 16u << 20 && free == total);
  CUdeviceptr at = 0, more = 0;
  OK(CU(cuMemAlloc)(&at, 10 << 20));
  EXPECT(CU(cuMemAlloc)(&more, 10 << 20), CUDA_ERROR_OUT_OF_MEMORY);
  OK(CU(cuMemFree)(at));
  OK(CU(cuMemAlloc)(&more, 10 << 20));
  FINDS(EXPECT(CU(cuMemFree)(at), CUDA_ERROR_INVALID_VALUE));  // twice
}

CASE(pageable_copies_are_counted) {
  Device device;
  const CUdeviceptr x = new_memory(4096);
  const CUstream stream = new_stream();
  std::vector<char> pageable(4096, 5);
  void* pinned = nullptr;
  OK(CU(cuMemHostAlloc)(&pinned, 4096, CU_MEMHOSTALLOC_PORTABLE));
  OK(CU(cuMemcpyHtoDAsync)(x, pageable.data(), 4096, stream));
  std::memset(pageable.data(), 9, 4096);  // it was staged
  OK(CU(cuMemcpyDtoHAsync)(pinned, x, 4096, stream));
  OK(CU(cuStreamSynchronize)(stream));
  CHECK(static_cast<char*>(pinned)[100] == 5);
  CHECK(report().find("\"pageable_copies\":1,") != std::string::npos);
  OK(CU(cuMemFreeHost)(pinned));
}

CASE(fresh_memory_is_not_read) {
  Device device;
  if (!checked()) return;
  const CUstream stream = new_stream();
  auto params = Scale{reinterpret_cast<float*>(new_memory(4096)), 1024, 1, 1};
  FINDS({
    OK(launch(device.scale, stream, &params));
    OK(CU(cuStreamSynchronize)(stream));
  });
}
