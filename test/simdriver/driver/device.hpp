// The one machine (simt/) of the process, made at its first use from the settings.
#pragma once

#include <cuda.h>

#include "simt/machine.hpp"

namespace simdriver {

simt::Machine& machine();
// The driver's error for a grid that ended badly.
CUresult error_of(simt::Status status);

}  // namespace simdriver
