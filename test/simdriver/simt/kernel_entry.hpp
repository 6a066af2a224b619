// A kernel as the machine sees it; SPLITWISER_KERNEL (device.hpp) makes one and registers it.
#pragma once

#include <cstdint>

namespace simt {

struct KernelEntry {
  const char* name;
  void (*run)(const void* params);  // one thread
  std::uint32_t params_bytes;
  std::uint32_t threads;            // __launch_bounds__: a block at most
  std::uint32_t blocks;             // of an SM at least
  const char* file;
};

// Registers itself for the life of the program.
struct RegisteredKernel {
  explicit RegisteredKernel(const KernelEntry& entry);
  RegisteredKernel(const RegisteredKernel&) = delete;
  RegisteredKernel& operator=(const RegisteredKernel&) = delete;
  KernelEntry entry;
};

}  // namespace simt
