// The CUDA driver, found at run time: a table of entry points and what its errors mean. Nothing of NVIDIA is linked.
#pragma once

#include <array>
#include <atomic>
#include <optional>
#include <string>

#include <cuda.h>
#include <cudaTypedefs.h>

#include "backend/cuda/driver_calls.hpp"
#include "platform/dynamic_library.hpp"
#include "support/error.hpp"

namespace splitwiser::cuda {

inline constexpr int kLeastDriver = 13000;  // code built by nvcc 13 needs a driver of the same major
inline constexpr int kMaxDevices = 64;

struct Driver {
#define SPLITWISER_CALL(name, version) PFN_cu##name##_v##version name = nullptr;
  SPLITWISER_DRIVER_CALLS(SPLITWISER_CALL)
  SPLITWISER_OPTIONAL_DRIVER_CALLS(SPLITWISER_CALL)
#undef SPLITWISER_CALL

  int version = 0;        // as cuDriverGetVersion says: major * 1000 + minor * 10
  std::string reason;     // why it cannot be used; empty: it can
  std::string note;       // what a user should know although it can be used; mostly empty

  [[nodiscard]] bool usable() const { return reason.empty(); }
  // "CUDA_ERROR_INVALID_VALUE (1): invalid argument"
  [[nodiscard]] std::string text_of(CUresult result) const;

  Driver();
  ~Driver() = default;
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  // Devices that a kernel or the hardware has broken: no engine of this process can use them again.
  mutable std::array<std::atomic<bool>, kMaxDevices> lost{};

 private:
  void open();

  DynamicLibrary library_;
};

// The process's driver, opened and initialised (cuInit) at the first call. Never throws: look at `reason`.
[[nodiscard]] const Driver& driver();
// Throws device_unavailable with the reason when there is no usable driver.
[[nodiscard]] const Driver& usable_driver();

// An error after which no call on the device can succeed in this process.
[[nodiscard]] bool is_sticky(CUresult result);

// Throws the Error that `result` means; does nothing on success. `ordinal` < 0: the call is not about one device.
// out_of_memory, device_lost (and the device is marked lost), device_unavailable (the machine, with a remedy), internal.
void check(const Driver& driver, int ordinal, CUresult result, const char* what);

[[nodiscard]] Error lost_error(int ordinal, const std::string& why);

}  // namespace splitwiser::cuda
