// NVIDIA GPUs as devices. Both functions are there in every build; without the CUDA toolkit they say so.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.hpp"

namespace splitwiser {

struct CudaOptions {
  int ordinal = 0;
  DType storage = DType::f16;  // of weights and activations
  double layer_group_ms = 1;   // predicted length of the pieces in which a prompt is issued, two of them enqueued at most
};

// Throws device_unavailable (no driver, no such device, too old, no kernels in this build), device_lost (an earlier error
// broke the device for this process), out_of_memory.
[[nodiscard]] std::unique_ptr<Backend> make_cuda_backend(const CudaOptions& options);

struct CudaDevice {
  int ordinal = 0;
  bool available = false;
  std::string reason;               // why not
  std::string name;                 // the rest where the driver says it
  int compute_capability = 0;       // major * 10 + minor
  int sms = 0;
  std::uint64_t memory_bytes = 0;
  std::uint64_t available_bytes = 0;  // free now
  int driver_version = 0;           // of CUDA: major * 1000 + minor * 10
};

// Why a build without kernels can use no GPU.
inline constexpr const char* kNoKernels =
    "this build has no CUDA kernels: nvcc was not found when it was built, or it was built with SPLITWISER_CUDA=off. Install the "
    "CUDA toolkit 13 (it has nvcc) and run `npm rebuild splitwiser` without that setting";

// Every GPU; where none can be had, one entry (ordinal 0) that says why. Never throws but bad_alloc.
[[nodiscard]] std::vector<CudaDevice> describe_cuda();

}  // namespace splitwiser
