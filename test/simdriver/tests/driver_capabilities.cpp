// Versions, missing entry points, each architecture's limits and granularity, MPS.
#include <cstring>

#include "driver_test.hpp"

using namespace simdriver_test;

namespace {

void* find(const char* symbol, int version, CUresult expected, CUdriverProcAddressQueryResult status) {
  void* to = nullptr;
  CUdriverProcAddressQueryResult got{};
  EXPECT(CU(cuGetProcAddress)(symbol, &to, version, CU_GET_PROC_ADDRESS_LEGACY_STREAM, &got), expected);
  if (got != status) fail(__FILE__, __LINE__, std::string(symbol) + " has another status");
  return to;
}

constexpr auto kFound = CU_GET_PROC_ADDRESS_SUCCESS;
constexpr auto kTooOld = CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT;
constexpr auto kUnknown = CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;

}  // namespace

CASE(each_symbol_has_the_version_that_brought_it) {
  int version = 0;
  OK(CU(cuDriverGetVersion)(&version));
  CHECK(version == 13000);
  CHECK(find("cuGreenCtxStreamCreate", 12050, CUDA_SUCCESS, kFound) != nullptr);
  CHECK(find("cuGreenCtxStreamCreate", 12040, CUDA_SUCCESS, kTooOld) == nullptr);
  CHECK(find("cuNoSuchCall", 12000, CUDA_SUCCESS, kUnknown) == nullptr);
  // Above the driver's version every symbol fails.
  CHECK(find("cuInit", 13010, CUDA_ERROR_INVALID_VALUE, kTooOld) == nullptr);
  // Other structures, other functions.
  void* const v3 = find("cuCtxCreate", 11040, CUDA_SUCCESS, kFound);
  void* const v4 = find("cuCtxCreate", 12050, CUDA_SUCCESS, kFound);
  void* const v2 = find("cuCtxCreate", 3020, CUDA_SUCCESS, kFound);
  CHECK(v2 != v3 && v3 != v4 && v2 != v4);
  CHECK(v4 == reinterpret_cast<void*>(CU(cuCtxCreate)));
}

CASE(an_old_driver_lacks_what_came_later, {{{"SIMDRIVER_DRIVER_VERSION", "12040"}}}) {
  CHECK(find("cuGreenCtxCreate", 12040, CUDA_SUCCESS, kFound) != nullptr);
  CHECK(find("cuGreenCtxStreamCreate", 12040, CUDA_SUCCESS, kUnknown) == nullptr);
  CHECK(find("cuInit", 13000, CUDA_ERROR_INVALID_VALUE, kTooOld) == nullptr);
}

CASE(named_entry_points_are_missing, {{{"SIMDRIVER_MISSING", "cuGraphUpload,cuMemMap"}}}) {
  CHECK(find("cuGraphUpload", 11010, CUDA_SUCCESS, kUnknown) == nullptr);
  CHECK(find("cuMemMap", 10020, CUDA_SUCCESS, kUnknown) == nullptr);
  CHECK(find("cuMemUnmap", 10020, CUDA_SUCCESS, kFound) != nullptr);
}

CASE(there_is_no_device, {{{"SIMDRIVER_NO_DEVICE", "1"}}}) {
  EXPECT(CU(cuInit)(0), CUDA_ERROR_NO_DEVICE);
  int count = 0;
  EXPECT(CU(cuDeviceGetCount)(&count), CUDA_ERROR_NOT_INITIALIZED);
}

CASE(a_setting_that_cannot_be_read_is_refused, {{{"SIMDRIVER_SMS", "many"}}}) {
  EXPECT(CU(cuInit)(0), CUDA_ERROR_INVALID_VALUE);
}

CASE(errors_have_names) {
  const char* text = nullptr;
  OK(CU(cuGetErrorName)(CUDA_ERROR_ILLEGAL_ADDRESS, &text));
  CHECK(std::strcmp(text, "CUDA_ERROR_ILLEGAL_ADDRESS") == 0);
  OK(CU(cuGetErrorString)(CUDA_ERROR_OUT_OF_MEMORY, &text));
  CHECK(std::strcmp(text, "out of memory (simulated)") == 0);
  EXPECT(CU(cuGetErrorName)(CUresult(12345), &text), CUDA_ERROR_INVALID_VALUE);
}

CASE(attributes_are_those_of_the_architecture,
     {{{"SIMDRIVER_ARCH", "80"}, {"SHARED_KB", "163"}}, {{"SIMDRIVER_ARCH", "86"}, {"SHARED_KB", "99"}},
      {{"SIMDRIVER_ARCH", "89"}, {"SHARED_KB", "99"}}, {{"SIMDRIVER_ARCH", "90"}, {"SHARED_KB", "227"}},
      {{"SIMDRIVER_ARCH", "100"}, {"SHARED_KB", "227"}}, {{"SIMDRIVER_ARCH", "120"}, {"SHARED_KB", "99"}}}) {
  OK(CU(cuInit)(0));
  const auto attribute = [](CUdevice_attribute which) {
    int value = -1;
    OK(CU(cuDeviceGetAttribute)(&value, which, 0));
    return value;
  };
  CHECK(attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) == setting("SIMDRIVER_ARCH") / 10);
  CHECK(attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR) == setting("SIMDRIVER_ARCH") % 10);
  CHECK(attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN) == setting("SHARED_KB") * 1024);
  CHECK(attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT) == 16);
  CHECK(attribute(CU_DEVICE_ATTRIBUTE_MPS_ENABLED) == 0);
}

// Published splits: GH200 (132 SMs): 2 x 72 gives 1 x 72, 6 x 11 gives 6 x 16, 2 x 1 gives 2 x 8.
CASE(splits_have_each_architectures_granularity,
     {{{"SIMDRIVER_ARCH", "90"}, {"SIMDRIVER_SMS", "132"}, {"FOR_11", "16"}, {"FOR_1", "8"}},
      {{"SIMDRIVER_ARCH", "120"}, {"SIMDRIVER_SMS", "132"}, {"FOR_11", "16"}, {"FOR_1", "8"}},
      {{"SIMDRIVER_ARCH", "100"}, {"SIMDRIVER_SMS", "132"}, {"FOR_11", "16"}, {"FOR_1", "8"}},
      {{"SIMDRIVER_ARCH", "80"}, {"SIMDRIVER_SMS", "132"}, {"FOR_11", "12"}, {"FOR_1", "4"}},
      {{"SIMDRIVER_ARCH", "89"}, {"SIMDRIVER_SMS", "132"}, {"FOR_11", "12"}, {"FOR_1", "4"}}}) {
  Device device;
  CUdevResource all{}, groups[6]{}, rest{};
  OK(CU(cuDeviceGetDevResource)(0, &all, CU_DEV_RESOURCE_TYPE_SM));
  CHECK(all.sm.smCount == 132);
  const auto split = [&](unsigned count, unsigned least, unsigned flags = 0) {
    OK(CU(cuDevSmResourceSplitByCount)(groups, &count, &all, &rest, flags, least));
    return count;
  };
  CHECK(split(2, 72) == 1 && groups[0].sm.smCount == 72 && rest.sm.smCount == 60);
  CHECK(split(6, 11) == 6 && groups[5].sm.smCount == unsigned(setting("FOR_11")));
  CHECK(split(2, 1) == 2 && groups[1].sm.smCount == unsigned(setting("FOR_1")));
  CHECK(split(6, 11, CU_DEV_SM_RESOURCE_SPLIT_IGNORE_SM_COSCHEDULING) == 6 && groups[0].sm.smCount == 12);
  // What came out of a split is split again only through a context.
  unsigned count = 1;
  CHECK(split(1, 72) == 1);
  CUdevResource again{};
  EXPECT(CU(cuDevSmResourceSplitByCount)(&again, &count, &groups[0], nullptr, 0, 8), CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION);
  // Decode and prefill contexts: their SMs are disjoint and their counts can be read back.
  CUdevResourceDesc descriptor = nullptr;
  CUgreenCtx decode = nullptr, prefill = nullptr;
  OK(CU(cuDevResourceGenerateDesc)(&descriptor, &groups[0], 1));
  EXPECT(CU(cuGreenCtxCreate)(&decode, descriptor, 0, 0), CUDA_ERROR_INVALID_VALUE);
  OK(CU(cuGreenCtxCreate)(&decode, descriptor, 0, CU_GREEN_CTX_DEFAULT_STREAM));
  OK(CU(cuDevResourceGenerateDesc)(&descriptor, &rest, 1));
  OK(CU(cuGreenCtxCreate)(&prefill, descriptor, 0, CU_GREEN_CTX_DEFAULT_STREAM));
  OK(CU(cuGreenCtxGetDevResource)(prefill, &again, CU_DEV_RESOURCE_TYPE_SM));
  CHECK(again.sm.smCount == 60);
  CUstream stream = nullptr;
  EXPECT(CU(cuGreenCtxStreamCreate)(&stream, decode, CU_STREAM_DEFAULT, 0), CUDA_ERROR_INVALID_VALUE);
  OK(CU(cuGreenCtxStreamCreate)(&stream, decode, CU_STREAM_NON_BLOCKING, -99));
  int priority = 0;
  OK(CU(cuStreamGetPriority)(stream, &priority));
  CHECK(priority == -5);
  CUgreenCtx of = nullptr;
  OK(CU(cuStreamGetGreenCtx)(stream, &of));
  CHECK(of == decode);
  // A context that is destroyed before its streams: a finding, and the streams are dead.
  FINDS(OK(CU(cuGreenCtxDestroy)(decode)));
  EXPECT(CU(cuStreamSynchronize)(stream), CUDA_ERROR_CONTEXT_IS_DESTROYED);
}

CASE(green_contexts_are_refused, {{{"SIMDRIVER_GREEN", "0"}}}) {
  Device device;
  CUdevResource all{};
  EXPECT(CU(cuDeviceGetDevResource)(0, &all, CU_DEV_RESOURCE_TYPE_SM), CUDA_ERROR_NOT_SUPPORTED);
}

CASE(affinity_needs_a_server, {{}, {{"SIMDRIVER_MPS", "1"}}}) {
  Device device;
  const bool mps = setting("SIMDRIVER_MPS") != 0;
  int supported = -1, enabled = -1;
  OK(CU(cuDeviceGetExecAffinitySupport)(&supported, CU_EXEC_AFFINITY_TYPE_SM_COUNT, 0));
  OK(CU(cuDeviceGetAttribute)(&enabled, CU_DEVICE_ATTRIBUTE_MPS_ENABLED, 0));
  CHECK(supported == (mps ? 1 : 0) && enabled == supported);
  CUexecAffinityParam affinity{};
  affinity.type = CU_EXEC_AFFINITY_TYPE_SM_COUNT;
  affinity.param.smCount.val = 5;
  CUctxCreateParams params{&affinity, 1, nullptr};
  CUcontext context = nullptr;
  EXPECT(CU(cuCtxCreate)(&context, &params, 0, 0), mps ? CUDA_SUCCESS : CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY);
  CUctxCreateParams neither{nullptr, 0, nullptr};
  CUcontext none = nullptr;
  EXPECT(CU(cuCtxCreate)(&none, &neither, 0, 0), CUDA_ERROR_INVALID_VALUE);
  if (!mps) return;
  CUcontext current = nullptr;
  OK(CU(cuCtxGetCurrent)(&current));
  CHECK(current == context);  // it was made current
  CUexecAffinityParam got{};
  OK(CU(cuCtxGetExecAffinity)(&got, CU_EXEC_AFFINITY_TYPE_SM_COUNT));
  CHECK(got.param.smCount.val == 6);  // rounded up
  OK(CU(cuCtxDestroy)(context));
  OK(CU(cuCtxGetCurrent)(&current));
  CHECK(current == device.context);
}
