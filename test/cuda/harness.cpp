#include "harness.hpp"

#include <algorithm>

namespace splitwiser::cuda_test {
namespace {

constexpr std::size_t kStagingBytes = std::size_t(1) << 20;

}  // namespace

Gpu::Gpu()
    : device_(std::make_shared<cuda::Device>(0)),
      context_(std::make_shared<cuda::Context>(device_)),
      kernels_(std::make_unique<cuda::KernelLibrary>(device_)),
      stream_(std::make_unique<cuda::Stream>(context_, cuda::Stream::Priority::normal)),
      staging_(device_, kStagingBytes) {
  kernels_->load_in(*context_);
  // Kernel tests launch from the main thread only; the context stays current there.
  device_->check(device_->driver().CtxPushCurrent(context_->handle()), "cuCtxPushCurrent");
}

void Gpu::copy_in(CUdeviceptr to, const void* from, std::size_t bytes) {
  for (std::size_t done = 0; done < bytes;) {
    const std::size_t piece = std::min(bytes - done, kStagingBytes);
    std::memcpy(staging_.data(), static_cast<const std::byte*>(from) + done, piece);
    check(device_->driver().MemcpyHtoDAsync(to + done, staging_.data(), piece, stream()), "cuMemcpyHtoDAsync");
    stream_->synchronize();
    done += piece;
  }
}

void Gpu::copy_out(void* to, CUdeviceptr from, std::size_t bytes) {
  for (std::size_t done = 0; done < bytes;) {
    const std::size_t piece = std::min(bytes - done, kStagingBytes);
    check(device_->driver().MemcpyDtoHAsync(staging_.data(), from + done, piece, stream()), "cuMemcpyDtoHAsync");
    stream_->synchronize();
    std::memcpy(static_cast<std::byte*>(to) + done, staging_.data(), piece);
    done += piece;
  }
}

void Gpu::fill(CUdeviceptr to, unsigned char byte, std::size_t bytes) {
  check(device_->driver().MemsetD8Async(to, byte, bytes, stream()), "cuMemsetD8Async");
  stream_->synchronize();
}

Gpu& gpu() {
  static Gpu instance;
  return instance;
}

DeviceShape shape(int sms) {
  DeviceShape shape = gpu().device()->shape();
  if (sms > 0) shape.sms = sms;
  return shape;
}

void synchronize() {
  gpu().check(gpu().device()->driver().StreamSynchronize(gpu().stream()), "cuStreamSynchronize");
}

}  // namespace splitwiser::cuda_test
