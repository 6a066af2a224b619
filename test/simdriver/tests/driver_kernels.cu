// Kernels of the simulated driver's own tests.
#include "driver_kernels.hpp"
#include "ptx.cuh"

namespace {
using namespace splitwiser;
using simdriver_test::Scale;
using simdriver_test::Meet;
using simdriver_test::Wide;

// x[i] = x[i] * factor + addend
__device__ void scale(const Scale& params) {
  const unsigned step = gridDim.x * blockDim.x;
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < params.count; i += step) {
    params.x[i] = __fmaf_rn(params.x[i], params.factor, params.addend);
  }
}

// Says that it is here and waits until the other one is.
__device__ void meet(const Meet& params) {
  if (threadIdx.x != 0) return;
  ptx::add_acq_rel(params.mine, 1);
  while (ptx::add_acq_rel(params.other, 0) == 0) {
  }
}
}  // namespace

SPLITWISER_KERNEL(driver_scale, Scale, 128, 1) { scale(params); }
SPLITWISER_KERNEL(driver_meet, Meet, 32, 1) { meet(params); }
SPLITWISER_KERNEL(driver_wide, Wide, 1024, 1) { scale(params.scale); }
SPLITWISER_KERNEL(driver_trap, Scale, 32, 1) {
  // An address that is nobody's.
  if (params.count != 0) params.x[(1ll << 46) / 4] = params.factor;
}
