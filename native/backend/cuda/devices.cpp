#include <algorithm>

#include "backend/cuda/cuda_backend.hpp"
#include "backend/cuda/device.hpp"
#include "backend/cuda/fatbins.hpp"

namespace splitwiser {
namespace {

CudaDevice describe(const cuda::Driver& driver, int ordinal) {
  CudaDevice device;
  device.ordinal = ordinal;
  device.driver_version = driver.version;
  CUdevice handle = 0;
  char name[256] = {};
  std::size_t total = 0;
  if (driver.DeviceGet(&handle, ordinal) == CUDA_SUCCESS) {
    if (driver.DeviceGetName(name, int(sizeof(name)) - 1, handle) == CUDA_SUCCESS) device.name = name;
    if (driver.DeviceTotalMem(&total, handle) == CUDA_SUCCESS) device.memory_bytes = total;
  }
  try {
    // Opens the primary context, as a load would: what is free is known inside of one only.
    const cuda::Device open(ordinal);
    device.compute_capability = open.shape().arch;
    device.sms = open.shape().sms;
    std::size_t free = 0;
    const cuda::ContextScope scope(open, open.primary());
    open.check(driver.MemGetInfo(&free, &total), "cuMemGetInfo");
    device.available_bytes = free;
    if (cuda::fatbins().empty()) device.reason = kNoKernels;
  } catch (const Error& error) {
    device.reason = error.what();
  }
  device.available = device.reason.empty();
  return device;
}

}  // namespace

std::vector<CudaDevice> describe_cuda() {
  const cuda::Driver& driver = cuda::driver();
  std::vector<CudaDevice> devices;
  int count = 0;
  std::string reason = driver.reason;
  if (driver.usable()) {
    const CUresult result = driver.DeviceGetCount(&count);
    if (result != CUDA_SUCCESS) reason = "the NVIDIA driver does not count its GPUs (" + driver.text_of(result) + "): see what nvidia-smi says";
    if (result == CUDA_SUCCESS && count == 0) reason = "the NVIDIA driver found no GPU: see whether nvidia-smi lists one";
  }
  if (!reason.empty()) {
    CudaDevice none;
    none.reason = reason;
    none.driver_version = driver.version;
    devices.push_back(none);
    return devices;
  }
  for (int i = 0; i < std::min(count, cuda::kMaxDevices); i++) devices.push_back(describe(driver, i));
  return devices;
}

}  // namespace splitwiser
