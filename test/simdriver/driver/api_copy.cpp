// Copies and fills. An asynchronous copy of pinned memory reads and writes it when its turn comes; pageable memory is
// staged before the call returns (host to device) or waited for (device to host), and counted: it blocks its caller.
#include <cstring>

#include "state.hpp"

using namespace simdriver;

namespace {

constexpr CallRules kAsync{.fail_class = "copy", .failure = CUDA_ERROR_UNKNOWN};
constexpr CallRules kSync{.fail_class = "copy", .failure = CUDA_ERROR_UNKNOWN, .unsafe_in_capture = true};

enum class Direction { to_device, to_host, on_device };

CUresult refuse(State& all, const char* name, const char* why) {
  all.finding(std::string(name) + ": " + why);
  return CUDA_ERROR_INVALID_VALUE;
}

CUresult copy(State& all, std::unique_lock<std::mutex>& lock, const char* name, CUstream handle, void* to, const void* from,
              std::size_t bytes, Direction direction, bool synchronous) {
  std::shared_ptr<Stream> stream;
  if (const CUresult result = all.resolve(handle, stream); result != CUDA_SUCCESS) return result;
  if (bytes == 0) return CUDA_SUCCESS;
  if (!to || !from) return refuse(all, name, "a null address");
  const Where target = all.memory.where(to, bytes), source = all.memory.where(from, bytes);
  Operation operation;
  operation.kind = OperationKind::copy;
  operation.to_device = direction != Direction::to_host;
  operation.from_device = direction != Direction::to_device;
  if (target == Where::bad || source == Where::bad) return refuse(all, name, "the range is not wholly allocated and accessible");
  if (operation.to_device && target == Where::pageable) return refuse(all, name, "the destination is not device memory");
  if (operation.from_device && source == Where::pageable) return refuse(all, name, "the source is not device memory");
  operation.to = static_cast<std::byte*>(to);
  operation.from = static_cast<const std::byte*>(from);
  operation.bytes = bytes;
  operation.to_pageable = target == Where::pageable;
  operation.from_pageable = source == Where::pageable;
  const bool pageable = operation.to_pageable || operation.from_pageable;
  if (pageable && !synchronous) ++all.report.pageable_copies;
  if (stream->capture) {
    if (pageable) all.finding(std::string(name) + ": a captured copy of pageable memory");
    return all.issue(stream, std::move(operation), stream->priority);
  }
  if (operation.from_pageable) {
    operation.staged = std::make_shared<std::vector<std::byte>>(operation.from, operation.from + bytes);
    operation.from = operation.staged->data();
  }
  const bool wait = synchronous || operation.to_pageable;
  if (const CUresult result = all.issue(stream, std::move(operation), stream->priority); result != CUDA_SUCCESS) return result;
  if (wait) {
    all.report.host_sync(name);
    all.executor.wait(lock, stream->tail);
    return all.lost;
  }
  return CUDA_SUCCESS;
}

CUresult fill(State& all, std::unique_lock<std::mutex>& lock, const char* name, CUstream handle, CUdeviceptr to,
              std::uint32_t pattern, int width, std::size_t count, bool synchronous) {
  std::shared_ptr<Stream> stream;
  if (const CUresult result = all.resolve(handle, stream); result != CUDA_SUCCESS) return result;
  if (count == 0) return CUDA_SUCCESS;
  Operation operation;
  operation.kind = OperationKind::fill;
  operation.to = reinterpret_cast<std::byte*>(to);
  operation.bytes = count * std::size_t(width);
  operation.pattern = pattern;
  operation.pattern_bytes = width;
  operation.to_device = true;
  const Where target = all.memory.where(operation.to, operation.bytes);
  if (target != Where::device && target != Where::pinned) return refuse(all, name, "the range is not wholly allocated");
  if (to % std::uint64_t(width) != 0) return refuse(all, name, "the address is not aligned to the value");
  const CUresult result = all.issue(stream, std::move(operation), stream->priority);
  if (result != CUDA_SUCCESS || !synchronous) return result;
  all.report.host_sync(name);
  all.executor.wait(lock, stream->tail);
  return all.lost;
}

void* pointer(CUdeviceptr at) { return reinterpret_cast<void*>(at); }

}  // namespace

extern "C" {

CUresult CUDAAPI cuMemcpyHtoD(CUdeviceptr to, const void* from, std::size_t bytes) {
  return entry("cuMemcpyHtoD", kSync, [&](State& all, auto& lock) {
    return copy(all, lock, "cuMemcpyHtoD", nullptr, pointer(to), from, bytes, Direction::to_device, true);
  });
}
CUresult CUDAAPI cuMemcpyDtoH(void* to, CUdeviceptr from, std::size_t bytes) {
  return entry("cuMemcpyDtoH", kSync, [&](State& all, auto& lock) {
    return copy(all, lock, "cuMemcpyDtoH", nullptr, to, pointer(from), bytes, Direction::to_host, true);
  });
}
CUresult CUDAAPI cuMemcpyDtoD(CUdeviceptr to, CUdeviceptr from, std::size_t bytes) {
  return entry("cuMemcpyDtoD", kSync, [&](State& all, auto& lock) {
    return copy(all, lock, "cuMemcpyDtoD", nullptr, pointer(to), pointer(from), bytes, Direction::on_device, false);
  });
}
CUresult CUDAAPI cuMemcpyHtoDAsync(CUdeviceptr to, const void* from, std::size_t bytes, CUstream stream) {
  return entry("cuMemcpyHtoDAsync", kAsync, [&](State& all, auto& lock) {
    return copy(all, lock, "cuMemcpyHtoDAsync", stream, pointer(to), from, bytes, Direction::to_device, false);
  });
}
CUresult CUDAAPI cuMemcpyDtoHAsync(void* to, CUdeviceptr from, std::size_t bytes, CUstream stream) {
  return entry("cuMemcpyDtoHAsync", kAsync, [&](State& all, auto& lock) {
    return copy(all, lock, "cuMemcpyDtoHAsync", stream, to, pointer(from), bytes, Direction::to_host, false);
  });
}
CUresult CUDAAPI cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, std::size_t bytes, CUstream stream) {
  return entry("cuMemcpyDtoDAsync", kAsync, [&](State& all, auto& lock) {
    return copy(all, lock, "cuMemcpyDtoDAsync", stream, pointer(to), pointer(from), bytes, Direction::on_device, false);
  });
}

CUresult CUDAAPI cuMemsetD8(CUdeviceptr to, unsigned char value, std::size_t count) {
  return entry("cuMemsetD8", kSync, [&](State& all, auto& lock) {
    return fill(all, lock, "cuMemsetD8", nullptr, to, value, 1, count, true);
  });
}
CUresult CUDAAPI cuMemsetD16(CUdeviceptr to, unsigned short value, std::size_t count) {
  return entry("cuMemsetD16", kSync, [&](State& all, auto& lock) {
    return fill(all, lock, "cuMemsetD16", nullptr, to, value, 2, count, true);
  });
}
CUresult CUDAAPI cuMemsetD32(CUdeviceptr to, unsigned int value, std::size_t count) {
  return entry("cuMemsetD32", kSync, [&](State& all, auto& lock) {
    return fill(all, lock, "cuMemsetD32", nullptr, to, value, 4, count, true);
  });
}
CUresult CUDAAPI cuMemsetD8Async(CUdeviceptr to, unsigned char value, std::size_t count, CUstream stream) {
  return entry("cuMemsetD8Async", kAsync, [&](State& all, auto& lock) {
    return fill(all, lock, "cuMemsetD8Async", stream, to, value, 1, count, false);
  });
}
CUresult CUDAAPI cuMemsetD16Async(CUdeviceptr to, unsigned short value, std::size_t count, CUstream stream) {
  return entry("cuMemsetD16Async", kAsync, [&](State& all, auto& lock) {
    return fill(all, lock, "cuMemsetD16Async", stream, to, value, 2, count, false);
  });
}
CUresult CUDAAPI cuMemsetD32Async(CUdeviceptr to, unsigned int value, std::size_t count, CUstream stream) {
  return entry("cuMemsetD32Async", kAsync, [&](State& all, auto& lock) {
    return fill(all, lock, "cuMemsetD32Async", stream, to, value, 4, count, false);
  });
}

}  // extern "C"
