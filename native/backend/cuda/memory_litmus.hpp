// Whether memory that one lane's context writes is what the other lane's context reads.
#pragma once

#include <optional>
#include <string>

#include "backend/cuda/device.hpp"
#include "backend/cuda/kernel_library.hpp"

namespace splitwiser::cuda {

// cuMemSetAccess names a device and no context, so mappings should be visible in every context of the process; nobody says
// so outright. Each stream writes device and pinned memory, by copies and by a kernel, and the other one reads it.
// Nothing: it works. Otherwise the reason.
[[nodiscard]] std::optional<std::string> memory_litmus(const KernelLibrary& kernels, const Stream& one, const Stream& other);

}  // namespace splitwiser::cuda
