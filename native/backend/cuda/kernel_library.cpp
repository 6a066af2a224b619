#include "backend/cuda/kernel_library.hpp"

#include <algorithm>

#include "backend/cuda/cuda_backend.hpp"
#include "backend/cuda/fatbins.hpp"

namespace splitwiser::cuda {
namespace {

constexpr int kRegistersPerSm = 65536;     // of every architecture from 8.0 to 12.0
constexpr int kMostBlocksPerSm = 16;       // the least of them (8.6 and 8.9: 16 and 24, others 32)
constexpr int kReservedSharedBytes = 1024; // that the system takes of each block's shared memory
constexpr int kWaitingArch = 90;

}  // namespace

KernelLibrary::KernelLibrary(std::shared_ptr<const Device> device)
    : device_(std::move(device)),
      threads_per_sm_(device_->attribute(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR)),
      shared_per_sm_(device_->attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR)) {
  if (fatbins().empty()) throw Error(ErrorCode::device_unavailable, kNoKernels);
  const Driver& driver = device_->driver();
  const ContextScope scope(*device_, device_->primary());
  try {
    for (const Fatbin& fatbin : fatbins()) {
      CUlibrary library = nullptr;
      const CUresult result = driver.LibraryLoadData(&library, fatbin.data, nullptr, nullptr, 0, nullptr, nullptr, 0);
      if (result == CUDA_ERROR_NO_BINARY_FOR_GPU || result == CUDA_ERROR_UNSUPPORTED_PTX_VERSION ||
          result == CUDA_ERROR_JIT_COMPILER_NOT_FOUND || result == CUDA_ERROR_JIT_COMPILATION_DISABLED) {
        throw Error(ErrorCode::device_unavailable,
                    "the CUDA kernels of this build do not run on " + device_->name() + " (compute capability " +
                        std::to_string(device_->shape().arch / 10) + "." + std::to_string(device_->shape().arch % 10) +
                        "): run SPLITWISER_CUDA_ARCHS=" + std::to_string(device_->shape().arch) +
                        " npm rebuild splitwiser (" + driver.text_of(result) + ")");
      }
      device_->check(result, "cuLibraryLoadData");
      libraries_.push_back(library);
      add(library);
    }
  } catch (...) {
    for (const CUlibrary library : libraries_) driver.LibraryUnload(library);
    throw;
  }
}

KernelLibrary::~KernelLibrary() {
  for (const CUlibrary library : libraries_) device_->driver().LibraryUnload(library);
}

void KernelLibrary::add(CUlibrary library) {
  const Driver& driver = device_->driver();
  unsigned count = 0;
  device_->check(driver.LibraryGetKernelCount(&count, library), "cuLibraryGetKernelCount");
  std::vector<CUkernel> handles(count);
  device_->check(driver.LibraryEnumerateKernels(handles.data(), count, library), "cuLibraryEnumerateKernels");
  for (const CUkernel handle : handles) {
    const char* name = nullptr;
    device_->check(driver.KernelGetName(&name, handle), "cuKernelGetName");
    Kernel kernel{handle, 0, 0, false};
    std::size_t offset = 0;
    device_->check(driver.KernelGetParamInfo(handle, 0, &offset, &kernel.param_bytes), "cuKernelGetParamInfo");
    device_->check(driver.KernelGetAttribute(&kernel.registers, CU_FUNC_ATTRIBUTE_NUM_REGS, handle, device_->handle()),
                   "cuKernelGetAttribute");
    int compiled_for = 0;  // 80 where a later device compiles the PTX itself
    device_->check(driver.KernelGetAttribute(&compiled_for, CU_FUNC_ATTRIBUTE_PTX_VERSION, handle, device_->handle()),
                   "cuKernelGetAttribute");
    kernel.waits = compiled_for >= kWaitingArch && device_->shape().arch >= kWaitingArch;
    // More than 48 KB of shared memory must be asked for; plans keep within the limit. What the driver counts as static
    // (kernels have none of their own) is part of it.
    int static_bytes = 0;
    device_->check(driver.KernelGetAttribute(&static_bytes, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, handle, device_->handle()),
                   "cuKernelGetAttribute");
    device_->check(driver.KernelSetAttribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                             device_->shape().shared_bytes_per_block - static_bytes, handle, device_->handle()),
                   "cuKernelSetAttribute");
    kernels_.insert_or_assign(name, kernel);
  }
}

void KernelLibrary::load_in(const Context& context) const {
  const ContextScope scope(*device_, context.handle());
  for (const auto& [name, kernel] : kernels_) {
    CUfunction function = nullptr;
    device_->check(device_->driver().KernelGetFunction(&function, kernel.handle), "cuKernelGetFunction");
  }
}

std::uint32_t KernelLibrary::grid_within(int quota_sms, const LaunchPlan& plan, const Kernel& kernel) const {
  const auto block = int(plan.block);
  int resident = std::min(kMostBlocksPerSm, threads_per_sm_ / block);
  if (kernel.registers > 0) resident = std::min(resident, kRegistersPerSm / (kernel.registers * block));
  resident = std::min(resident, shared_per_sm_ / (int(plan.shared_bytes) + kReservedSharedBytes));
  return std::min(plan.grid, std::uint32_t(quota_sms) * std::uint32_t(std::max(1, resident)));
}

void KernelLibrary::launch_bytes(const LaunchTarget& target, const LaunchPlan& plan, const void* params,
                                 std::size_t bytes) const {
  if (plan.grid == 0) return;
  const auto found = kernels_.find(plan.kernel);
  if (found == kernels_.end()) {
    throw Error(ErrorCode::internal, std::string("no fatbin of this build has a kernel ") + plan.kernel);
  }
  const Kernel& kernel = found->second;
  if (kernel.param_bytes != bytes) {
    throw Error(ErrorCode::internal, std::string(plan.kernel) + " takes " + std::to_string(kernel.param_bytes) +
                                         " bytes of parameters, got " + std::to_string(bytes));
  }
  if (plan.block == 0 || plan.block > 1024 || int(plan.shared_bytes) > device_->shape().shared_bytes_per_block) {
    throw Error(ErrorCode::internal, std::string(plan.kernel) + ": a block of " + std::to_string(plan.block) +
                                         " threads with " + std::to_string(plan.shared_bytes) +
                                         " bytes of shared memory does not fit the device");
  }
  CUlaunchConfig config{};
  config.gridDimX = target.quota_sms > 0 ? grid_within(target.quota_sms, plan, kernel) : plan.grid;
  config.gridDimY = config.gridDimZ = 1;
  config.blockDimX = plan.block;
  config.blockDimY = config.blockDimZ = 1;
  config.sharedMemBytes = plan.shared_bytes;
  config.hStream = target.stream;
  CUlaunchAttribute overlap{};
  overlap.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
  overlap.value.programmaticStreamSerializationAllowed = 1;
  // Not under a quota: two kernels' blocks together would take more places than the lane has.
  if (target.may_overlap && target.quota_sms == 0 && kernel.waits) {
    config.attrs = &overlap;
    config.numAttrs = 1;
  }
  void* arguments[] = {const_cast<void*>(params)};
  // A CUkernel may stand for a CUfunction: the stream's context is the one that it runs in.
  const auto function = reinterpret_cast<CUfunction>(kernel.handle);
  const CUresult result = device_->driver().LaunchKernelEx(&config, function, arguments, nullptr);
  if (result != CUDA_SUCCESS) device_->check(result, plan.kernel);
}

}  // namespace splitwiser::cuda
