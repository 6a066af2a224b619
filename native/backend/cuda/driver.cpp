#include "backend/cuda/driver.hpp"

#include "platform/environment.hpp"

namespace splitwiser::cuda {
namespace {

constexpr const char* kDefaultFile = "libcuda.so.1";
constexpr const char* kNoDriver = "none";  // as SPLITWISER_CUDA_LIBRARY
constexpr const char* kInstall = "to use a GPU, install the NVIDIA driver 580 or newer; a container is to be started with --gpus all";
constexpr const char* kLookAround = "see what nvidia-smi and dmesg say, and please report this where they say nothing";
// Streams beyond the number of queues (8 by default) share them, and one lane's launch could wait behind the other's: two
// lanes with streams in each prepared split need more. Counts only before cuInit.
constexpr const char* kQueuesVariable = "CUDA_DEVICE_MAX_CONNECTIONS";
constexpr const char* kQueues = "32";

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

// What a user can do where the machine is not as it has to be; null: the error says nothing of the kind.
const char* remedy_of(CUresult result) {
  switch (result) {
    case CUDA_ERROR_NO_DEVICE:
      return "see whether nvidia-smi lists one and CUDA_VISIBLE_DEVICES does not hide it; a container is to be started with --gpus all";
    case CUDA_ERROR_DEVICE_UNAVAILABLE:
      return "another process has the GPU to itself: end it, or allow several (nvidia-smi --compute-mode=DEFAULT)";
    case CUDA_ERROR_OPERATING_SYSTEM:
      return "see whether this user may open /dev/nvidia*; a container is to be started with --gpus all";
    case CUDA_ERROR_SYSTEM_NOT_READY:
      return "start the driver's services (with NVSwitch: nvidia-fabricmanager)";
    case CUDA_ERROR_SYSTEM_DRIVER_MISMATCH:
      return "the kernel module and libcuda.so.1 are of different drivers: restart the machine, or install the driver again";
    case CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE:
      return "this GPU takes no libcuda.so.1 of a CUDA compatibility package: take its folder out of LD_LIBRARY_PATH";
    case CUDA_ERROR_MPS_CONNECTION_FAILED:
    case CUDA_ERROR_MPS_RPC_FAILURE:
    case CUDA_ERROR_MPS_SERVER_NOT_READY:
      return "the MPS server does not answer: see its log, or stop it (echo quit | nvidia-cuda-mps-control)";
    case CUDA_ERROR_MPS_MAX_CLIENTS_REACHED:
    case CUDA_ERROR_MPS_MAX_CONNECTIONS_REACHED: return "the MPS server takes no more clients: end another one first";
    default: return nullptr;
  }
}

}  // namespace

Driver::Driver() { open(); }

void Driver::open() {
  const auto named = environment_value(EnvironmentVariable::cuda_library);
  if (named == kNoDriver) {
    reason = "SPLITWISER_CUDA_LIBRARY is \"none\", so no driver is looked for: unset it to use a GPU";
    return;
  }
  const std::string file = named.value_or(kDefaultFile);
  const std::string remedy = named ? "name the driver's libcuda.so.1 in SPLITWISER_CUDA_LIBRARY, or unset it" : kInstall;
  library_ = DynamicLibrary(file);
  if (!library_.open()) {
    reason = std::string(named ? "SPLITWISER_CUDA_LIBRARY names a file that cannot be opened" : "no NVIDIA driver is installed") +
             " (" + library_.reason() + "): " + remedy;
    return;
  }
  library_.keep();  // the driver has threads and exit handlers of its own
  const auto driver_version = reinterpret_cast<PFN_cuDriverGetVersion_v2020>(library_.symbol("cuDriverGetVersion"));
  if (driver_version == nullptr || driver_version(&version) != CUDA_SUCCESS) {
    reason = file + " does not say its version, so it is not a CUDA driver: " + remedy;
    return;
  }
  if (version < kLeastDriver) {
    reason = "the NVIDIA driver supports CUDA " + version_text(version) + ", " + version_text(kLeastDriver) +
             " is needed: install driver 580 or newer";
    return;
  }
  const auto get = reinterpret_cast<PFN_cuGetProcAddress_v12000>(library_.symbol("cuGetProcAddress_v2"));
  if (get == nullptr) {
    reason = file + " has no entry point cuGetProcAddress_v2: install driver 580 or newer";
    return;
  }
  // Asking for a version above the driver's would fail for every symbol; the typedef's own version never is.
  const auto find = [&](const char* symbol, int wanted) -> void* {
    void* found = nullptr;
    CUdriverProcAddressQueryResult status = CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    const CUresult result = get(symbol, &found, wanted, CU_GET_PROC_ADDRESS_LEGACY_STREAM, &status);
    return result == CUDA_SUCCESS && status == CU_GET_PROC_ADDRESS_SUCCESS && version >= wanted ? found : nullptr;
  };
#define SPLITWISER_FIND(name, wanted)                                                                      \
  name = reinterpret_cast<PFN_cu##name##_v##wanted>(find("cu" #name, wanted));                             \
  if (name == nullptr && reason.empty()) {                                                                 \
    reason = file + " has no entry point cu" #name " (of version " + version_text(wanted) +                \
             ") although it says CUDA " + version_text(version) + ": install the NVIDIA driver again";     \
  }
  SPLITWISER_DRIVER_CALLS(SPLITWISER_FIND)
#undef SPLITWISER_FIND
#define SPLITWISER_FIND(name, wanted) name = reinterpret_cast<PFN_cu##name##_v##wanted>(find("cu" #name, wanted));
  SPLITWISER_OPTIONAL_DRIVER_CALLS(SPLITWISER_FIND)
#undef SPLITWISER_FIND
  if (!reason.empty()) return;
  int count = 0;
  const bool late = DeviceGetCount(&count) != CUDA_ERROR_NOT_INITIALIZED;
  if (set_environment_default(kQueuesVariable, kQueues) && late) {
    note = std::string("CUDA was initialised in this process before splitwiser was: ") + kQueuesVariable + "=" + kQueues +
           " comes too late, and launches of the two lanes may wait for each other. Load splitwiser first, or set it in the environment";
  }
  const CUresult result = Init(0);
  if (result == CUDA_ERROR_NO_DEVICE) {
    reason = std::string("the NVIDIA driver found no GPU: ") + remedy_of(result);
  } else if (result != CUDA_SUCCESS) {
    const char* remedy_known = remedy_of(result);
    reason = "cuInit failed with " + text_of(result) + ": " + (remedy_known != nullptr ? remedy_known : kLookAround);
  }
}

std::string Driver::text_of(CUresult result) const {
  const char* name = nullptr;
  const char* meaning = nullptr;
  if (GetErrorName == nullptr || GetErrorName(result, &name) != CUDA_SUCCESS || name == nullptr) name = "an unknown error";
  if (GetErrorString == nullptr || GetErrorString(result, &meaning) != CUDA_SUCCESS) meaning = nullptr;
  std::string text = std::string(name) + " (" + std::to_string(int(result)) + ")";
  if (meaning != nullptr) text += std::string(": ") + meaning;
  return text;
}

const Driver& driver() {
  static const Driver instance;
  return instance;
}

const Driver& usable_driver() {
  const Driver& found = driver();
  if (!found.usable()) throw Error(ErrorCode::device_unavailable, "CUDA cannot be used: " + found.reason);
  return found;
}

bool is_sticky(CUresult result) {
  switch (result) {
    case CUDA_ERROR_ECC_UNCORRECTABLE:
    case CUDA_ERROR_NVLINK_UNCORRECTABLE:
    case CUDA_ERROR_CONTAINED:
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case CUDA_ERROR_LAUNCH_TIMEOUT:
    case CUDA_ERROR_CONTEXT_IS_DESTROYED:
    case CUDA_ERROR_ASSERT:
    case CUDA_ERROR_HARDWARE_STACK_ERROR:
    case CUDA_ERROR_ILLEGAL_INSTRUCTION:
    case CUDA_ERROR_MISALIGNED_ADDRESS:
    case CUDA_ERROR_INVALID_ADDRESS_SPACE:
    case CUDA_ERROR_INVALID_PC:
    case CUDA_ERROR_LAUNCH_FAILED:
    case CUDA_ERROR_TENSOR_MEMORY_LEAK:
    case CUDA_ERROR_MPS_RPC_FAILURE:
    case CUDA_ERROR_MPS_CLIENT_TERMINATED:
    case CUDA_ERROR_EXTERNAL_DEVICE: return true;
    default: return false;
  }
}

Error lost_error(int ordinal, const std::string& why) {
  return Error(ErrorCode::device_lost,
               "cuda:" + std::to_string(ordinal) + " is lost for this process (" + why +
                   "). The CPU still works here; to use the GPU again, start the process anew (and look at nvidia-smi)");
}

void check(const Driver& driver, int ordinal, CUresult result, const char* what) {
  if (result == CUDA_SUCCESS) return;
  const std::string text = std::string(what) + ": " + driver.text_of(result);
  if (is_sticky(result)) {
    if (ordinal >= 0 && ordinal < kMaxDevices) driver.lost[std::size_t(ordinal)] = true;
    throw lost_error(ordinal, text);
  }
  if (result == CUDA_ERROR_OUT_OF_MEMORY) {
    throw Error(ErrorCode::out_of_memory,
                "the GPU has no memory left for " + text + ". nvidia-smi says who has it; or lower kvCacheBytes or maxBatchTokens");
  }
  if (const char* remedy = remedy_of(result)) throw Error(ErrorCode::device_unavailable, text + ": " + remedy);
  throw Error(ErrorCode::internal, "CUDA: " + text + ": " + kLookAround);
}

}  // namespace splitwiser::cuda
