#include "backend/cuda/memory.hpp"

#include <algorithm>
#include <utility>

namespace splitwiser::cuda {
namespace {

constexpr std::size_t kArenaAlignment = 256;
// An arena maps as much again as it holds, within these bounds: few calls for a large model, little waste for a small one.
constexpr std::size_t kLeastArenaPiece = std::size_t(2) << 20;
constexpr std::size_t kMostArenaPiece = std::size_t(64) << 20;

std::size_t round_up(std::size_t value, std::size_t unit) { return (value + unit - 1) / unit * unit; }

CUmemAllocationProp properties_of(const Device& device) {
  CUmemAllocationProp properties{};
  properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties.location = {CU_MEM_LOCATION_TYPE_DEVICE, {device.handle()}};
  if (device.attribute(CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED) != 0) {
    properties.requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
  }
  return properties;
}

std::string megabytes(std::size_t bytes) { return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MB"; }

[[noreturn]] void throw_out_of_memory(const Device& device, std::size_t bytes, const char* what) {
  std::size_t free = 0;
  std::size_t total = 0;
  const ContextScope scope(device, device.primary());
  device.check(device.driver().MemGetInfo(&free, &total), "cuMemGetInfo");
  throw Error(ErrorCode::out_of_memory,
              std::string(what) + ": " + megabytes(bytes) + " more are needed on cuda:" + std::to_string(device.ordinal()) +
                  ", " + megabytes(free) + " of " + megabytes(total) +
                  " are free. Lower kvCacheBytes or maxBatchTokens, take a 16 bit dtype or a smaller model, or end what else "
                  "uses the GPU");
}

}  // namespace

DeviceMemory::DeviceMemory(std::shared_ptr<const Device> device, std::size_t reserve, const char* what)
    : device_(std::move(device)), what_(what) {
  const ContextScope scope(*device_, device_->primary());
  const CUmemAllocationProp properties = properties_of(*device_);
  device_->check(device_->driver().MemGetAllocationGranularity(&granularity_, &properties,
                                                               CU_MEM_ALLOC_GRANULARITY_RECOMMENDED),
                 "cuMemGetAllocationGranularity");
  const std::size_t bytes = round_up(std::max<std::size_t>(reserve, 1), granularity_);
  device_->check(device_->driver().MemAddressReserve(&address_, bytes, 0, 0, 0), "cuMemAddressReserve");
  reserved_ = bytes;
}

void DeviceMemory::grow(std::size_t bytes) {
  if (bytes <= mapped_) return;
  const Driver& driver = device_->driver();
  const std::size_t added = round_up(bytes - mapped_, granularity_);
  if (added > reserved_ - mapped_) throw_out_of_memory(*device_, added, what_);
  const ContextScope scope(*device_, device_->primary());
  const CUmemAllocationProp properties = properties_of(*device_);
  pieces_.reserve(pieces_.size() + 1);
  CUmemGenericAllocationHandle handle = 0;
  const CUresult created = driver.MemCreate(&handle, added, &properties, 0);
  if (created == CUDA_ERROR_OUT_OF_MEMORY) throw_out_of_memory(*device_, added, what_);
  device_->check(created, "cuMemCreate");
  const CUdeviceptr at = address_ + mapped_;
  const CUresult mapped = driver.MemMap(at, added, 0, handle, 0);
  if (mapped != CUDA_SUCCESS) {
    driver.MemRelease(handle);
    if (mapped == CUDA_ERROR_OUT_OF_MEMORY) throw_out_of_memory(*device_, added, what_);
    device_->check(mapped, "cuMemMap");
  }
  CUmemAccessDesc access{};
  access.location = properties.location;
  access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  const CUresult allowed = driver.MemSetAccess(at, added, &access, 1);
  if (allowed != CUDA_SUCCESS) {
    driver.MemUnmap(at, added);
    driver.MemRelease(handle);
    if (allowed == CUDA_ERROR_OUT_OF_MEMORY) throw_out_of_memory(*device_, added, what_);
    device_->check(allowed, "cuMemSetAccess");
  }
  pieces_.push_back({handle, mapped_, added});
  mapped_ += added;
}

void DeviceMemory::release() noexcept {
  if (address_ == 0) return;
  const Driver& driver = device_->driver();
  for (const Piece& piece : pieces_) {
    driver.MemUnmap(address_ + piece.offset, piece.bytes);
    driver.MemRelease(piece.handle);
  }
  driver.MemAddressFree(address_, reserved_);
  address_ = 0;
  reserved_ = mapped_ = 0;
  pieces_.clear();
}

DeviceMemory::~DeviceMemory() { release(); }

DeviceMemory::DeviceMemory(DeviceMemory&& other) noexcept { *this = std::move(other); }

DeviceMemory& DeviceMemory::operator=(DeviceMemory&& other) noexcept {
  if (this == &other) return *this;
  release();
  device_ = std::move(other.device_);
  what_ = other.what_;
  address_ = std::exchange(other.address_, 0);
  reserved_ = std::exchange(other.reserved_, 0);
  mapped_ = std::exchange(other.mapped_, 0);
  granularity_ = other.granularity_;
  pieces_ = std::exchange(other.pieces_, {});
  return *this;
}

DeviceMemory map_memory(std::shared_ptr<const Device> device, std::size_t bytes, const char* what) {
  DeviceMemory memory(std::move(device), bytes, what);
  memory.grow(std::max<std::size_t>(bytes, 1));
  return memory;
}

Arena::Arena(std::shared_ptr<const Device> device, const char* what) {
  std::size_t total = 0;
  device->check(device->driver().DeviceTotalMem(&total, device->handle()), "cuDeviceTotalMem");
  memory_ = DeviceMemory(std::move(device), total, what);
}

std::byte* Arena::allocate(std::size_t bytes) {
  const std::size_t end = used_ + round_up(std::max<std::size_t>(bytes, 1), kArenaAlignment);
  if (end > memory_.mapped()) {
    const std::size_t piece = std::clamp(memory_.mapped(), kLeastArenaPiece, kMostArenaPiece);
    memory_.grow(std::max(end, std::min(memory_.mapped() + piece, memory_.reserved())));
  }
  std::byte* at = memory_.data() + used_;
  used_ = end;
  return at;
}

PinnedMemory::PinnedMemory(std::shared_ptr<const Device> device, std::size_t bytes) : device_(std::move(device)) {
  const ContextScope scope(*device_, device_->primary());
  void* data = nullptr;
  const CUresult result = device_->driver().MemHostAlloc(&data, bytes, CU_MEMHOSTALLOC_PORTABLE);
  if (result == CUDA_ERROR_OUT_OF_MEMORY) {
    throw Error(ErrorCode::out_of_memory, megabytes(bytes) + " of pinned host memory could not be had: free memory of the "
                                                             "machine, or raise its limit for locked memory (ulimit -l)");
  }
  device_->check(result, "cuMemHostAlloc");
  data_ = static_cast<std::byte*>(data);
  bytes_ = bytes;
}

void PinnedMemory::release() noexcept {
  if (data_ != nullptr) {
    // It wants a context, and a thread that ends an engine has none.
    const Driver& driver = device_->driver();
    CUcontext popped = nullptr;
    const bool entered = driver.CtxPushCurrent(device_->primary()) == CUDA_SUCCESS;
    driver.MemFreeHost(data_);
    if (entered) driver.CtxPopCurrent(&popped);
  }
  data_ = nullptr;
  bytes_ = 0;
}

PinnedMemory::~PinnedMemory() { release(); }

PinnedMemory::PinnedMemory(PinnedMemory&& other) noexcept
    : device_(std::move(other.device_)), data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

PinnedMemory& PinnedMemory::operator=(PinnedMemory&& other) noexcept {
  if (this != &other) {
    release();
    device_ = std::move(other.device_);
    data_ = std::exchange(other.data_, nullptr);
    bytes_ = std::exchange(other.bytes_, 0);
  }
  return *this;
}

}  // namespace splitwiser::cuda
