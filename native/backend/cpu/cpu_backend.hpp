// The CPU as a device.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.hpp"

namespace splitwiser {

struct CpuOptions {
  int threads = 0;  // 0: the cores that this process may use
};

// Throws device_unavailable (SPLITWISER_ISA names what cannot run, no threads to be had), invalid_option.
[[nodiscard]] std::unique_ptr<Backend> make_cpu_backend(const CpuOptions& options);

struct CpuDevice {
  std::string name;
  int cores = 1;                      // physical cores that this process may use: affinity mask and cgroup quota
  std::string isa;                    // in use, by SPLITWISER_ISA or the best
  std::vector<std::string> isas;      // that can run here
  std::uint64_t memory_bytes = 0;     // of the machine, lowered to the cgroup's limit
  std::uint64_t available_bytes = 0;  // free for this process now
};

// Throws device_unavailable when SPLITWISER_ISA names what cannot run here.
[[nodiscard]] CpuDevice describe_cpu();

}  // namespace splitwiser
