// The kernels that were built into this program: one fatbin for each .cu file. The build generates the definition; without
// nvcc the list is empty.
#pragma once

#include <cstddef>
#include <span>

namespace splitwiser::cuda {

struct Fatbin {
  const char* name;           // of the source, without its ending
  const unsigned char* data;
  std::size_t bytes;
};

[[nodiscard]] std::span<const Fatbin> fatbins();

}  // namespace splitwiser::cuda
