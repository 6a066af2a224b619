// A GPU that is open in this process, and contexts on it.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backend/cuda/driver.hpp"
#include "launch.hpp"

namespace splitwiser::cuda {

// Holds the primary context, whose waits block (CU_CTX_SCHED_BLOCKING_SYNC): no core spins while the GPU works.
class Device {
 public:
  // Throws device_unavailable (no driver, no such device), device_lost (broken earlier in this process).
  explicit Device(int ordinal);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  [[nodiscard]] const Driver& driver() const { return driver_; }
  [[nodiscard]] int ordinal() const { return ordinal_; }
  [[nodiscard]] CUdevice handle() const { return handle_; }
  [[nodiscard]] CUcontext primary() const { return primary_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  // The whole device.
  [[nodiscard]] const DeviceShape& shape() const { return shape_; }
  [[nodiscard]] int attribute(CUdevice_attribute attribute) const;  // 0 where the driver does not know it

  void check(CUresult result, const char* what) const { cuda::check(driver_, ordinal_, result, what); }
  // Throws device_lost when any engine of this process has lost the device.
  void require_alive() const;

 private:
  const Driver& driver_;
  int ordinal_;
  CUdevice handle_ = 0;
  CUcontext primary_ = nullptr;
  std::string name_;
  DeviceShape shape_;
};

// A context is current in the calling thread as long as this lives.
class ContextScope {
 public:
  ContextScope(const Device& device, CUcontext context) : device_(device) {
    device_.check(device_.driver().CtxPushCurrent(context), "cuCtxPushCurrent");
  }
  ~ContextScope() {
    CUcontext popped = nullptr;
    device_.driver().CtxPopCurrent(&popped);
  }
  ContextScope(const ContextScope&) = delete;
  ContextScope& operator=(const ContextScope&) = delete;

 private:
  const Device& device_;
};

// The primary context, an MPS context or a green context: what lane streams are made in. Keeps its device open.
class Context {
 public:
  explicit Context(std::shared_ptr<const Device> device);                                      // the primary one
  Context(std::shared_ptr<const Device> device, CUcontext handle, CUgreenCtx green, int sms);  // takes over the handles
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  [[nodiscard]] const Device& device() const { return *device_; }
  [[nodiscard]] const std::shared_ptr<const Device>& device_pointer() const { return device_; }
  [[nodiscard]] CUcontext handle() const { return handle_; }
  [[nodiscard]] CUgreenCtx green() const { return green_; }
  [[nodiscard]] int sms() const { return sms_; }

  // Events that block the waiting thread and take no time stamps; they are recorded in this context's streams only.
  [[nodiscard]] CUevent take_event();
  void give_back(CUevent event) noexcept;

 private:
  std::shared_ptr<const Device> device_;
  CUcontext handle_;
  CUgreenCtx green_ = nullptr;
  int sms_;
  bool owned_ = false;
  std::mutex events_mutex_;
  std::vector<CUevent> free_events_;
};

// A non-blocking stream of a context.
class Stream {
 public:
  enum class Priority { normal, high };
  Stream(std::shared_ptr<Context> context, Priority priority);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  [[nodiscard]] CUstream handle() const { return handle_; }
  [[nodiscard]] Context& context() const { return *context_; }
  [[nodiscard]] const std::shared_ptr<Context>& context_pointer() const { return context_; }
  // The calling thread waits for all that was issued.
  void synchronize() const;

 private:
  std::shared_ptr<Context> context_;
  CUstream handle_ = nullptr;
};

}  // namespace splitwiser::cuda
