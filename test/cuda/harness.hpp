// What kernel tests need: the driver (real, or the one that SPLITWISER_CUDA_LIBRARY names), the kernels of this build,
// one plain stream, and arrays.
//
//   DeviceArray<float> x = upload<float>(values);
//   DeviceArray<float> out = filled<float>(n, 0xff);
//   launch(plan_norm(params, shape()), params);
//   CHECK_EQ(out.download()[0], 1.0f);
//
// Arrays end where their mapping ends (up to 15 bytes), so that an access beyond them faults on a GPU too.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include "backend/cuda/device.hpp"
#include "backend/cuda/kernel_library.hpp"
#include "backend/cuda/memory.hpp"
#include "launch.hpp"

namespace splitwiser::cuda_test {

class Gpu {
 public:
  Gpu();
  [[nodiscard]] const std::shared_ptr<const cuda::Device>& device() const { return device_; }
  [[nodiscard]] const std::shared_ptr<cuda::Context>& context() const { return context_; }
  [[nodiscard]] const cuda::KernelLibrary& kernels() const { return *kernels_; }
  [[nodiscard]] CUstream stream() const { return stream_->handle(); }
  void check(CUresult result, const char* what) const { device_->check(result, what); }

  // Each is done when it returns.
  void copy_in(CUdeviceptr to, const void* from, std::size_t bytes);
  void copy_out(void* to, CUdeviceptr from, std::size_t bytes);
  void fill(CUdeviceptr to, unsigned char byte, std::size_t bytes);

 private:
  std::shared_ptr<const cuda::Device> device_;
  std::shared_ptr<cuda::Context> context_;
  std::unique_ptr<cuda::KernelLibrary> kernels_;
  std::unique_ptr<cuda::Stream> stream_;
  cuda::PinnedMemory staging_;
};

// The process's GPU 0. Throws device_unavailable where there is none: the test fails with the reason.
[[nodiscard]] Gpu& gpu();

// GPU 0's shape; `sms` above 0 instead of its own number.
[[nodiscard]] DeviceShape shape(int sms = 0);

// Waits for all that was launched. Throws what a kernel's failure means.
void synchronize();

// Asynchronous, in gpu().stream(). `quota_sms` above 0 holds the grid to what that many SMs hold.
template <typename Params>
void launch(const LaunchPlan& plan, const Params& params, int quota_sms = 0) {
  gpu().kernels().launch({gpu().stream(), quota_sms}, plan, params);
}

template <typename T>
class DeviceArray {
 public:
  static_assert(std::is_trivially_copyable_v<T>);
  DeviceArray() = default;
  explicit DeviceArray(std::size_t count) : count_(count) {
    if (count == 0) return;
    memory_ = cuda::map_memory(gpu().device(), bytes(), "a test array");
    offset_ = (memory_.mapped() - bytes()) & ~std::size_t(15);
  }

  // Null for an array of none.
  [[nodiscard]] T* data() const { return count_ == 0 ? nullptr : reinterpret_cast<T*>(memory_.data() + offset_); }
  [[nodiscard]] CUdeviceptr address() const { return count_ == 0 ? 0 : memory_.address() + offset_; }
  [[nodiscard]] std::size_t size() const { return count_; }
  [[nodiscard]] std::size_t bytes() const { return count_ * sizeof(T); }

  // Waits for what was launched before.
  [[nodiscard]] std::vector<T> download() const {
    std::vector<T> values(count_);
    if (count_ != 0) gpu().copy_out(values.data(), address(), bytes());
    return values;
  }
  void assign(std::span<const T> values) {
    if (values.size() != count_) throw Error(ErrorCode::internal, "a test array is given as many values as it has");
    if (count_ != 0) gpu().copy_in(address(), values.data(), bytes());
  }

 private:
  std::size_t count_ = 0;
  std::size_t offset_ = 0;
  cuda::DeviceMemory memory_;
};

// upload<float>(vector), upload(span)
template <typename T>
[[nodiscard]] DeviceArray<T> upload(std::span<const std::type_identity_t<T>> values) {
  DeviceArray<T> array(values.size());
  array.assign(values);
  return array;
}
template <typename T>
[[nodiscard]] DeviceArray<T> upload(const std::vector<T>& values) {
  return upload<T>(std::span<const T>(values));
}

// Every byte is `byte`: 0xff makes NaN of any float, and -1 of any integer.
template <typename T>
[[nodiscard]] DeviceArray<T> filled(std::size_t count, unsigned char byte) {
  DeviceArray<T> array(count);
  if (count != 0) gpu().fill(array.address(), byte, array.bytes());
  return array;
}

template <typename T>
[[nodiscard]] std::vector<T> download(const DeviceArray<T>& array) {
  return array.download();
}

}  // namespace splitwiser::cuda_test
