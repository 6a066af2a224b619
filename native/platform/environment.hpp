// Every environment variable that native code reads, in one table.
#pragma once

#include <array>
#include <optional>
#include <string>

namespace splitwiser {

enum class EnvironmentVariable { isa, cuda_library };

struct EnvironmentEntry {
  EnvironmentVariable variable;
  const char* name;
  const char* meaning;
};

inline constexpr std::array kEnvironment = {
    EnvironmentEntry{EnvironmentVariable::isa, "SPLITWISER_ISA",
                     "instruction set of the CPU kernels: portable, avx2, avx512 or neon; default: the best that runs"},
    EnvironmentEntry{EnvironmentVariable::cuda_library, "SPLITWISER_CUDA_LIBRARY",
                     "file that is opened as the CUDA driver; default: libcuda.so.1"},
};

// Nothing when the variable is not set or empty.
[[nodiscard]] std::optional<std::string> environment_value(EnvironmentVariable variable);

// For a variable that belongs to another library and is read when that one starts: sets it unless it is set. Whether it was
// unset.
bool set_environment_default(const char* name, const char* value);

}  // namespace splitwiser
