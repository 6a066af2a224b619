// Choice of the instruction set at run time.
#pragma once

#include <string>
#include <vector>

#include "backend/cpu/kernels.hpp"

namespace splitwiser::cpu {

// Those that this machine and its operating system run, best last; portable is always among them.
[[nodiscard]] std::vector<Isa> runnable_isas();
// By SPLITWISER_ISA, else the best. Throws device_unavailable for one that is unknown or cannot run here.
[[nodiscard]] Isa chosen_isa();
[[nodiscard]] const CpuKernels& kernels_of(Isa isa);
// The processor's own name for itself.
[[nodiscard]] std::string processor_name();

}  // namespace splitwiser::cpu
