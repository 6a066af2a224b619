#include "backend/cuda/memory_litmus.hpp"

#include <cstring>

#include "backend/cuda/memory.hpp"
#include "rows.hpp"

namespace splitwiser::cuda {
namespace {

constexpr std::int64_t kFloats = 256;
constexpr std::size_t kBytes = std::size_t(kFloats) * sizeof(float);

// Pinned layout: what is written, what is read back, the row index of the gather kernel.
struct Pinned {
  float sent[kFloats];
  float copied[kFloats];
  float gathered[kFloats];
  std::int32_t row;
};

void gather(const KernelLibrary& kernels, const Stream& stream, const void* from, void* to, const std::int32_t* row) {
  const GatherParams params{from, row, to, nullptr, 1, kFloats, DType::f32};
  DeviceShape shape = stream.context().device().shape();
  shape.sms = stream.context().sms();
  kernels.launch({stream.handle(), 0}, plan_gather(params, shape), params);
}

bool passes(const KernelLibrary& kernels, const Stream& writer, const Stream& reader, float seed) {
  const Device& device = writer.context().device();
  const Driver& driver = device.driver();
  const auto& pointer = writer.context().device_pointer();
  const DeviceMemory memory = map_memory(pointer, 2 * kBytes, "the memory litmus");
  const PinnedMemory pinned(pointer, sizeof(Pinned));
  auto& host = *new (pinned.data()) Pinned{};
  for (std::int64_t i = 0; i < kFloats; i++) host.sent[i] = seed + float(i);
  std::byte* by_copy = memory.data();
  std::byte* by_kernel = memory.data() + kBytes;
  {
    const ContextScope scope(device, writer.context().handle());
    device.check(driver.MemcpyHtoDAsync(reinterpret_cast<CUdeviceptr>(by_copy), host.sent, kBytes, writer.handle()),
                 "cuMemcpyHtoDAsync");
    gather(kernels, writer, host.sent, by_kernel, &host.row);
    writer.synchronize();
  }
  {
    const ContextScope scope(device, reader.context().handle());
    device.check(driver.MemcpyDtoHAsync(host.copied, reinterpret_cast<CUdeviceptr>(by_kernel), kBytes, reader.handle()),
                 "cuMemcpyDtoHAsync");
    gather(kernels, reader, by_copy, host.gathered, &host.row);
    reader.synchronize();
  }
  return std::memcmp(host.sent, host.copied, kBytes) == 0 && std::memcmp(host.sent, host.gathered, kBytes) == 0;
}

}  // namespace

std::optional<std::string> memory_litmus(const KernelLibrary& kernels, const Stream& one, const Stream& other) {
  try {
    if (passes(kernels, one, other, 1.0f) && passes(kernels, other, one, 2.0f)) return std::nullopt;
    return "what one lane's context writes is not what the other's reads";
  } catch (const Error& error) {
    if (error.code() != ErrorCode::internal) throw;
    return std::string("one lane's context cannot use the other's memory: ") + error.what();
  }
}

}  // namespace splitwiser::cuda
