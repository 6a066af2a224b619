#include "backend/cuda/device.hpp"

namespace splitwiser::cuda {
namespace {

// Compute capability that the kernels need: cp.async and mma m16n8k16 with bf16.
constexpr int kLeastArch = 80;

}  // namespace

Device::Device(int ordinal) : driver_(usable_driver()), ordinal_(ordinal) {
  int count = 0;
  check(driver_.DeviceGetCount(&count), "cuDeviceGetCount");
  if (ordinal < 0 || ordinal >= count || ordinal >= kMaxDevices) {
    throw Error(ErrorCode::device_unavailable, "cuda:" + std::to_string(ordinal) + " does not exist: there " +
                                                   (count == 1 ? "is 1 GPU" : "are " + std::to_string(count) + " GPUs") +
                                                   ", counted from cuda:0");
  }
  require_alive();
  check(driver_.DeviceGet(&handle_, ordinal), "cuDeviceGet");
  char name[256] = {};
  check(driver_.DeviceGetName(name, int(sizeof(name)) - 1, handle_), "cuDeviceGetName");
  name_ = name;
  shape_.sms = attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  shape_.arch = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) * 10 +
                attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  shape_.shared_bytes_per_block = attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
  if (shape_.arch < kLeastArch) {
    throw Error(ErrorCode::device_unavailable, "cuda:" + std::to_string(ordinal) + " (" + name_ +
                                                   ") has compute capability " + std::to_string(shape_.arch / 10) + "." +
                                                   std::to_string(shape_.arch % 10) + ", 8.0 is needed: use the CPU");
  }
  if (attribute(CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED) == 0) {
    throw Error(ErrorCode::device_unavailable, "cuda:" + std::to_string(ordinal) + " (" + name_ +
                                                   ") offers no virtual memory management (cuMemMap): use the CPU");
  }
  // Where another library has made the context active already, its flags stay: waits then may spin, nothing else changes.
  unsigned flags = 0;
  int active = 0;
  check(driver_.DevicePrimaryCtxGetState(handle_, &flags, &active), "cuDevicePrimaryCtxGetState");
  if (active == 0) {
    check(driver_.DevicePrimaryCtxSetFlags(handle_, CU_CTX_SCHED_BLOCKING_SYNC), "cuDevicePrimaryCtxSetFlags");
  }
  check(driver_.DevicePrimaryCtxRetain(&primary_, handle_), "cuDevicePrimaryCtxRetain");
}

Device::~Device() {
  if (primary_ != nullptr) driver_.DevicePrimaryCtxRelease(handle_);
}

int Device::attribute(CUdevice_attribute attribute) const {
  int value = 0;
  return driver_.DeviceGetAttribute(&value, attribute, handle_) == CUDA_SUCCESS ? value : 0;
}

void Device::require_alive() const {
  if (driver_.lost[std::size_t(ordinal_)]) throw lost_error(ordinal_, "an earlier error broke it");
}

Context::Context(std::shared_ptr<const Device> device)
    : device_(std::move(device)), handle_(device_->primary()), sms_(device_->shape().sms) {}

Context::Context(std::shared_ptr<const Device> device, CUcontext handle, CUgreenCtx green, int sms)
    : device_(std::move(device)), handle_(handle), green_(green), sms_(sms), owned_(true) {}

Context::~Context() {
  const Driver& driver = device_->driver();
  for (const CUevent event : free_events_) driver.EventDestroy(event);
  if (!owned_) return;
  if (green_ != nullptr) {
    driver.GreenCtxDestroy(green_);
  } else {
    driver.CtxDestroy(handle_);
  }
}

CUevent Context::take_event() {
  {
    const std::lock_guard lock(events_mutex_);
    if (!free_events_.empty()) {
      const CUevent event = free_events_.back();
      free_events_.pop_back();
      return event;
    }
  }
  const ContextScope scope(*device_, handle_);
  CUevent event = nullptr;
  device_->check(device_->driver().EventCreate(&event, CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING), "cuEventCreate");
  return event;
}

void Context::give_back(CUevent event) noexcept {
  try {
    const std::lock_guard lock(events_mutex_);
    free_events_.push_back(event);
  } catch (...) {
    device_->driver().EventDestroy(event);
  }
}

Stream::Stream(std::shared_ptr<Context> context, Priority priority) : context_(std::move(context)) {
  const Device& device = context_->device();
  const Driver& driver = device.driver();
  const ContextScope scope(device, context_->handle());
  int least = 0;
  int greatest = 0;  // the numerically smallest
  device.check(driver.CtxGetStreamPriorityRange(&least, &greatest), "cuCtxGetStreamPriorityRange");
  const int wanted = priority == Priority::high ? greatest : least;
  if (context_->green() != nullptr) {
    device.check(driver.GreenCtxStreamCreate(&handle_, context_->green(), CU_STREAM_NON_BLOCKING, wanted),
                 "cuGreenCtxStreamCreate");
  } else {
    device.check(driver.StreamCreateWithPriority(&handle_, CU_STREAM_NON_BLOCKING, wanted), "cuStreamCreateWithPriority");
  }
}

Stream::~Stream() {
  const Driver& driver = context_->device().driver();
  driver.StreamSynchronize(handle_);
  driver.StreamDestroy(handle_);
}

void Stream::synchronize() const {
  context_->device().check(context_->device().driver().StreamSynchronize(handle_), "cuStreamSynchronize");
}

}  // namespace splitwiser::cuda
