// Order of work, launches that are refused, injected failures, the report.
#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>

#include "driver_test.hpp"

using namespace simdriver_test;

namespace {

constexpr unsigned kCount = 4096;

Scale scale_of(CUdeviceptr x, float factor, float addend) {
  return {reinterpret_cast<float*>(x), kCount, factor, addend};
}

// All elements of x, which must be the same.
float value_of(CUdeviceptr x) {
  std::vector<float> got(kCount);
  OK(CU(cuMemcpyDtoH)(got.data(), x, kCount * sizeof(float)));
  for (const float one : got) {
    if (!(one == got[0])) {
      fail(__FILE__, __LINE__, "elements differ: " + std::to_string(one) + " and " + std::to_string(got[0]));
      break;
    }
  }
  return got[0];
}

std::uint32_t* words(CUdeviceptr at) { return reinterpret_cast<std::uint32_t*>(at); }

const std::vector<std::vector<std::pair<const char*, const char*>>> kSeeds = {
    {{"SIMDRIVER_SEED", "1"}}, {{"SIMDRIVER_SEED", "2"}}, {{"SIMDRIVER_SEED", "3"}, {"SIMDRIVER_WORKERS", "1"}},
    {{"SIMDRIVER_SEED", "4"}, {"SIMDRIVER_SMS", "1"}}};

}  // namespace

CASE(a_stream_keeps_its_order, kSeeds) {
  Device device;
  const CUdeviceptr x = new_memory(kCount * sizeof(float));
  const CUstream stream = new_stream();
  OK(CU(cuMemsetD32Async)(x, 0, kCount, stream));
  float expected = 0;
  for (int i = 0; i < 20; ++i) {
    auto params = i % 2 ? scale_of(x, 2, 0) : scale_of(x, 1, 1);
    expected = i % 2 ? expected * 2 : expected + 1;
    OK(launch(device.scale, stream, &params));
  }
  OK(CU(cuStreamSynchronize)(stream));
  CHECK(value_of(x) == expected);
  CHECK(findings() == 0);
}

// Each of two kernels waits for the other: they end only if both are in flight at once.
CASE(two_streams_are_concurrent, {{{"SIMDRIVER_SMS", "2"}}, {{"SIMDRIVER_SMS", "8"}, {"SIMDRIVER_SEED", "9"}}}) {
  Device device;
  const CUdeviceptr flags = new_memory(256);
  OK(CU(cuMemsetD8)(flags, 0, 256));
  const CUstream a = new_stream(), b = new_stream();
  Meet first{words(flags), words(flags) + 32}, second{words(flags) + 32, words(flags)};
  OK(launch(device.meet, a, &first, 1, 32));
  OK(launch(device.meet, b, &second, 1, 32));
  OK(CU(cuStreamSynchronize)(a));
  OK(CU(cuStreamSynchronize)(b));
  const std::string json = report();
  CHECK(json.find("\"overlaps\":[{\"streams\":[") != std::string::npos);
}

CASE(an_event_orders_two_streams, kSeeds) {
  Device device;
  const CUdeviceptr x = new_memory(kCount * sizeof(float));
  const CUstream a = new_stream(), b = new_stream(CU_STREAM_NON_BLOCKING, -5);
  CUevent to_b = nullptr, to_a = nullptr;
  OK(CU(cuEventCreate)(&to_b, CU_EVENT_DISABLE_TIMING));
  OK(CU(cuEventCreate)(&to_a, CU_EVENT_DISABLE_TIMING));
  OK(CU(cuMemsetD32Async)(x, 0, kCount, a));
  float expected = 0;
  for (int i = 0; i < 10; ++i) {
    auto add = scale_of(x, 1, 1), twice = scale_of(x, 2, 0);
    OK(launch(device.scale, a, &add));
    OK(CU(cuEventRecord)(to_b, a));
    OK(CU(cuStreamWaitEvent)(b, to_b, 0));
    OK(launch(device.scale, b, &twice));
    OK(CU(cuEventRecord)(to_a, b));
    OK(CU(cuStreamWaitEvent)(a, to_a, 0));
    expected = (expected + 1) * 2;
  }
  OK(CU(cuEventSynchronize)(to_a));
  OK(CU(cuEventQuery)(to_a));
  CHECK(value_of(x) == expected);
  CHECK(findings() == 0);
}

// The legacy default stream waits for blocking streams and they for it; a non-blocking one is left alone.
CASE(the_legacy_stream_orders_blocking_streams, kSeeds) {
  Device device;
  const CUdeviceptr x = new_memory(kCount * sizeof(float)), flags = new_memory(256);
  OK(CU(cuMemsetD8)(flags, 0, 256));
  OK(CU(cuMemsetD32)(x, 0, kCount));
  const CUstream blocking = new_stream(CU_STREAM_DEFAULT), other = new_stream();
  auto add = scale_of(x, 1, 1), twice = scale_of(x, 2, 0);
  Meet held{words(flags), words(flags) + 32}, free{words(flags) + 32, words(flags)};
  OK(launch(device.meet, other, &held, 1, 32));  // runs until the end of the test
  for (int i = 0; i < 5; ++i) {
    OK(launch(device.scale, blocking, &add));
    OK(launch(device.scale, nullptr, &twice));
  }
  CHECK(value_of(x) == 62);
  EXPECT(CU(cuStreamQuery)(other), CUDA_ERROR_NOT_READY);
  OK(launch(device.meet, nullptr, &free, 1, 32));
  OK(CU(cuCtxSynchronize)());
}

CASE(launches_that_hardware_refuses, {{{"SIMDRIVER_ARCH", "80"}}, {{"SIMDRIVER_ARCH", "90"}}, {{"SIMDRIVER_ARCH", "120"}}}) {
  Device device;
  const CUstream stream = new_stream();
  auto params = scale_of(new_memory(kCount * sizeof(float)), 1, 1);
  FINDS(EXPECT(launch(device.scale, stream, &params, 0), CUDA_ERROR_INVALID_VALUE));
  FINDS(EXPECT(launch(device.scale, stream, &params, 1, 1025), CUDA_ERROR_INVALID_VALUE));
  FINDS(EXPECT(launch(device.scale, stream, &params, 1, 256), CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES));  // bound: 128
  FINDS(EXPECT(launch(device.scale, stream, &params, 1, 128, 48 * 1024 + 1), CUDA_ERROR_INVALID_VALUE));
  void* list[] = {&params};
  const auto kernel = reinterpret_cast<CUfunction>(device.scale);
  FINDS(EXPECT(CU(cuLaunchKernel)(kernel, 1, 65536, 1, 32, 1, 1, 0, stream, list, nullptr), CUDA_ERROR_INVALID_VALUE));
  FINDS(EXPECT(CU(cuLaunchKernel)(kernel, 1, 1, 65536, 32, 1, 1, 0, stream, list, nullptr), CUDA_ERROR_INVALID_VALUE));
  int most = 0;
  OK(CU(cuDeviceGetAttribute)(&most, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, 0));
  const auto which = CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
  FINDS(EXPECT(CU(cuKernelSetAttribute)(which, most + 1, device.scale, 0), CUDA_ERROR_INVALID_VALUE));
  OK(CU(cuKernelSetAttribute)(which, most, device.scale, 0));
  OK(CU(cuMemsetD32)(reinterpret_cast<CUdeviceptr>(params.x), 0, kCount));
  OK(launch(device.scale, stream, &params, 1, 128, unsigned(most)));
  Wide wide{};
  wide.scale = params;
  FINDS(EXPECT(launch(device.wide, stream, &wide), CUDA_ERROR_INVALID_VALUE));  // 5 KB of parameters
  std::size_t offset = 1, bytes = 0;
  OK(CU(cuKernelGetParamInfo)(device.scale, 0, &offset, &bytes));
  CHECK(offset == 0 && bytes == sizeof(Scale));
  EXPECT(CU(cuKernelGetParamInfo)(device.scale, 1, &offset, &bytes), CUDA_ERROR_INVALID_VALUE);
  int threads = 0;
  OK(CU(cuKernelGetAttribute)(&threads, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, device.scale, 0));
  CHECK(threads == 128);
  CUkernel none = nullptr;
  EXPECT(CU(cuLibraryGetKernel)(&none, device.library, "driver_none"), CUDA_ERROR_NOT_FOUND);
  OK(CU(cuStreamSynchronize)(stream));
}

CASE(a_damaged_image_is_refused) {
  Device device;
  std::vector<char> copy(static_cast<const char*>(fatbin()), static_cast<const char*>(fatbin()) + fatbin_bytes());
  CUlibrary library = nullptr;
  const auto load = [&] { return CU(cuLibraryLoadData)(&library, copy.data(), nullptr, nullptr, 0, nullptr, nullptr, 0); };
  OK(load());
  --copy[0x20];  // the first entry's LZ4 block is a byte shorter than it was
  FINDS(EXPECT(load(), CUDA_ERROR_INVALID_IMAGE));
  ++copy[0x20];
  copy[0x39] = char(copy[0x39] | 0x80);  // the flag of zstd, beside that of LZ4
  FINDS(EXPECT(load(), CUDA_ERROR_INVALID_IMAGE));
  copy[0] = 0;
  FINDS(EXPECT(load(), CUDA_ERROR_INVALID_IMAGE));
}

CASE(the_nth_call_fails, {{{"SIMDRIVER_FAIL", "alloc:2,launch:3,stream:2,cuEventCreate:1"}}}) {
  Device device;
  CUdeviceptr at = 0;
  OK(CU(cuMemAlloc)(&at, kCount * 4));
  EXPECT(CU(cuMemAlloc)(&at, 4096), CUDA_ERROR_OUT_OF_MEMORY);
  const CUstream stream = new_stream();
  CUstream second = nullptr;
  EXPECT(CU(cuStreamCreate)(&second, CU_STREAM_NON_BLOCKING), CUDA_ERROR_OUT_OF_MEMORY);
  OK(CU(cuMemsetD32)(at, 0, kCount));
  auto params = scale_of(at, 1, 1);
  OK(launch(device.scale, stream, &params));
  OK(launch(device.scale, stream, &params));
  EXPECT(launch(device.scale, stream, &params), CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
  OK(launch(device.scale, stream, &params));  // not sticky
  OK(CU(cuStreamSynchronize)(stream));
  CHECK(value_of(at) == 3);
  CUevent event = nullptr;
  EXPECT(CU(cuEventCreate)(&event, 0), CUDA_ERROR_OUT_OF_MEMORY);
}

CASE(a_lost_device_answers_nothing_else, {{{"SIMDRIVER_FAIL", "lost:3"}}}) {
  Device device;
  const CUdeviceptr flags = new_memory(256);
  OK(CU(cuMemsetD8)(flags, 0, 256));
  const CUstream other = new_stream();
  Meet held{words(flags), words(flags) + 32};  // waits for what never comes
  OK(launch(device.meet, other, &held, 1, 32));
  for (std::uint32_t here = 0; here == 0;) OK(CU(cuMemcpyDtoH)(&here, flags, 4));
  std::thread waiting([&] { EXPECT(CU(cuStreamSynchronize)(other), CUDA_ERROR_ILLEGAL_ADDRESS); });
  const auto waits = [] {
    const std::string json = report(), section = json.substr(json.find("\"host_syncs\""));
    return section.substr(0, section.find('}')).find("cuStreamSynchronize") != std::string::npos;
  };
  while (!waits()) std::this_thread::yield();
  const CUdeviceptr at = new_memory(kCount * 4);
  const CUstream stream = new_stream();
  OK(CU(cuMemsetD32)(at, 0, kCount));
  auto params = scale_of(at, 1, 1);
  OK(launch(device.scale, stream, &params));
  EXPECT(launch(device.scale, stream, &params), CUDA_ERROR_ILLEGAL_ADDRESS);
  EXPECT(launch(device.scale, stream, &params), CUDA_ERROR_ILLEGAL_ADDRESS);
  EXPECT(CU(cuStreamSynchronize)(stream), CUDA_ERROR_ILLEGAL_ADDRESS);
  waiting.join();
  CUdeviceptr more = 0;
  EXPECT(CU(cuMemAlloc)(&more, 4096), CUDA_ERROR_ILLEGAL_ADDRESS);
  int count = 0;
  OK(CU(cuDeviceGetCount)(&count));
  CHECK(report().find("\"lost\":700") != std::string::npos);
}

CASE(events_belong_to_a_context, {{{"SIMDRIVER_MPS", "1"}}}) {
  Device device;
  CUevent event = nullptr;
  OK(CU(cuEventCreate)(&event, 0));
  CUexecAffinityParam affinity{};
  affinity.type = CU_EXEC_AFFINITY_TYPE_SM_COUNT;
  affinity.param.smCount.val = 4;
  CUctxCreateParams params{&affinity, 1, nullptr};
  CUcontext context = nullptr;
  OK(CU(cuCtxCreate)(&context, &params, 0, 0));
  const CUstream stream = new_stream();
  FINDS(EXPECT(CU(cuEventRecord)(event, stream), CUDA_ERROR_INVALID_HANDLE));
  OK(CU(cuStreamWaitEvent)(stream, event, 0));
  // A function is of one context; the kernel is of all.
  CUfunction function = nullptr;
  OK(CU(cuCtxPopCurrent)(nullptr));
  OK(CU(cuKernelGetFunction)(&function, device.scale));
  auto scale = scale_of(new_memory(kCount * 4), 0, 0);
  void* list[] = {&scale};
  FINDS(EXPECT(CU(cuLaunchKernel)(function, 1, 1, 1, 32, 1, 1, 0, stream, list, nullptr), CUDA_ERROR_INVALID_HANDLE));
}

namespace {
std::atomic<int> g_from_host{-1};
void CUDA_CB call_cuda(void*) {
  int count = 0;
  g_from_host = CU(cuDeviceGetCount)(&count);
}
}  // namespace

CASE(a_host_function_must_not_call_cuda) {
  Device device;
  const CUstream stream = new_stream();
  FINDS({
    OK(CU(cuLaunchHostFunc)(stream, call_cuda, nullptr));
    OK(CU(cuStreamSynchronize)(stream));
  });
  CHECK(g_from_host == CUDA_ERROR_NOT_PERMITTED);
}

CASE(what_is_left_is_listed) {
  Device device;
  new_memory(4096);
  new_stream();
  const std::string json = report();
  CHECK(json.find("device memory (cuMemAlloc): 4096 bytes") != std::string::npos);
  CHECK(json.find("\"1 streams\"") != std::string::npos);
  CHECK(json.find("\"1 libraries\"") != std::string::npos);
}

// What only the checked tier sees: order that nobody asked for, and addresses that are nobody's.
CASE(unordered_streams_race, kSeeds) {
  Device device;
  if (!checked()) return;
  const CUdeviceptr x = new_memory(kCount * sizeof(float));
  const CUstream a = new_stream(), b = new_stream();
  CUevent event = nullptr;
  OK(CU(cuEventCreate)(&event, CU_EVENT_DISABLE_TIMING));
  OK(CU(cuMemsetD32)(x, 0, kCount));
  auto add = scale_of(x, 1, 1);
  // By an event, by the host's wait, by the legacy stream: ordered.
  OK(launch(device.scale, a, &add));
  OK(CU(cuEventRecord)(event, a));
  OK(CU(cuStreamWaitEvent)(b, event, 0));
  OK(launch(device.scale, b, &add));
  OK(CU(cuStreamSynchronize)(b));
  OK(launch(device.scale, a, &add));
  OK(CU(cuEventRecord)(event, a));
  while (CU(cuEventQuery)(event) == CUDA_ERROR_NOT_READY) std::this_thread::yield();
  OK(launch(device.scale, b, &add));
  OK(CU(cuStreamSynchronize)(b));
  CHECK(findings() == 0);
  // By nothing, even if the clock has them one after the other.
  OK(launch(device.scale, a, &add));
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  OK(launch(device.scale, b, &add));
  OK(CU(cuCtxSynchronize)());
  CHECK(findings() > 0);
}

CASE(copies_race_with_kernels) {
  Device device;
  if (!checked()) return;
  const CUdeviceptr x = new_memory(kCount * sizeof(float));
  void* pinned = nullptr;
  OK(CU(cuMemHostAlloc)(&pinned, kCount * sizeof(float), CU_MEMHOSTALLOC_PORTABLE));
  const CUstream a = new_stream(), b = new_stream();
  OK(CU(cuMemsetD32Async)(x, 0, kCount, a));
  auto add = scale_of(x, 1, 1);
  OK(launch(device.scale, a, &add));
  OK(CU(cuMemcpyDtoHAsync)(pinned, x, kCount * sizeof(float), a));
  OK(CU(cuCtxSynchronize)());
  CHECK(findings() == 0);
  OK(launch(device.scale, a, &add));
  OK(CU(cuMemcpyDtoHAsync)(pinned, x, kCount * sizeof(float), b));
  OK(CU(cuCtxSynchronize)());
  CHECK(findings() > 0);
}

CASE(a_wild_address_loses_the_device) {
  Device device;
  if (!checked()) return;
  const CUstream stream = new_stream();
  auto params = scale_of(new_memory(kCount * sizeof(float)), 1, 1);
  FINDS({
    OK(launch(device.trap, stream, &params, 1, 32));
    EXPECT(CU(cuStreamSynchronize)(stream), CUDA_ERROR_ILLEGAL_ADDRESS);
  });
  EXPECT(launch(device.scale, stream, &params), CUDA_ERROR_ILLEGAL_ADDRESS);
  CUfunction function = nullptr;
  EXPECT(CU(cuKernelGetFunction)(&function, device.scale), CUDA_ERROR_ILLEGAL_ADDRESS);
}
