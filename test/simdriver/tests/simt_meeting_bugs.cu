// Planted bugs of barriers and warp collectives, each with a clean twin.
#include "ptx.cuh"
#include "simt_params.hpp"

using namespace splitwiser;

namespace {

constexpr unsigned kAll = 0xffffffffu;

template <bool Bug>
__device__ void barrier_divided(const TestParams& p) {
  if (Bug && threadIdx.x % 2 == 0) {
    p.b[threadIdx.x] = 1.0f;
    __syncthreads();  // bug: barrier_divided
  } else {
    p.b[threadIdx.x] = 2.0f;
    __syncthreads();  // bug: barrier_divided
  }
}

template <bool Bug>
__device__ void barrier_after_return(const TestParams& p) {
  if (Bug && threadIdx.x >= 32) return;
  p.b[threadIdx.x] = 1.0f;
  __syncthreads();  // bug: barrier_after_return
}

template <bool Bug>
__device__ void barrier_against_shuffle(const TestParams& p) {
  float v = float(threadIdx.x);
  if (Bug && threadIdx.x == 0) __syncthreads();
  else v = __shfl_xor_sync(kAll, v, 1);
  p.b[threadIdx.x] = v;
}

template <bool Bug>
__device__ void mask_without_self(const TestParams& p) {
  p.b[threadIdx.x] = __shfl_sync(Bug ? 0xfffffffeu : kAll, float(threadIdx.x), 1);  // bug: mask_without_self
}

template <bool Bug>
__device__ void shuffle_from_outsider(const TestParams& p) {
  float v = 0;
  if (threadIdx.x < 16) v = __shfl_sync(0xffffu, float(threadIdx.x), Bug ? 20 : 3);  // bug: shuffle_from_outsider
  p.b[threadIdx.x] = v;
}

template <bool Bug>
__device__ void lane_returned(const TestParams& p) {
  if (Bug && threadIdx.x == 7) return;
  p.b[threadIdx.x] = __shfl_xor_sync(kAll, float(threadIdx.x), 1);  // bug: lane_returned
}

template <bool Bug>
__device__ void different_instructions(const TestParams& p) {
  if (Bug && threadIdx.x < 16) p.b[threadIdx.x] = float(__ballot_sync(kAll, 1));  // bug: different_instructions
  else p.b[threadIdx.x] = __shfl_sync(kAll, 1.0f, 0);                             // bug: different_instructions
}

template <bool Bug>
__device__ void mma_divided(const TestParams& p) {
  std::uint32_t a[4] = {}, b[2] = {};
  float d[4] = {};
  if (Bug && threadIdx.x < 16) {
    ptx::mma_m16n8k16(ptx::F16{}, d, a, b);  // bug: mma_divided
    p.b[threadIdx.x] = d[0];
  } else {
    ptx::mma_m16n8k16(ptx::F16{}, d, a, b);  // bug: mma_divided
    p.b[threadIdx.x] = d[1] + 1.0f;
  }
}

template <bool Bug>
__device__ void ldmatrix_misaligned(const TestParams& p) {
  auto* s = reinterpret_cast<float*>(ptx::shared_memory());
  for (unsigned i = threadIdx.x; i < 256; i += blockDim.x) s[i] = 0;
  __syncthreads();
  std::uint32_t to[4];
  ptx::ldmatrix_x4(to, s + (threadIdx.x % 32) * 4 + (Bug ? 2 : 0));  // bug: ldmatrix_misaligned
  p.b[threadIdx.x] = float(to[0]);
}

// Halves of a warp, each among itself, in any order: allowed.
__device__ void sub_masks_body(const TestParams& p) {
  const unsigned mask = threadIdx.x % 32 < 16 ? 0xffffu : 0xffff0000u;
  float v = float(threadIdx.x);
  if (mask == 0xffffu) {
    for (int step = 8; step > 0; step /= 2) v += __shfl_xor_sync(mask, v, step);
  } else {
    v = fmaxf(v, __shfl_xor_sync(mask, v, 1));
  }
  __syncwarp();
  p.b[threadIdx.x] = __shfl_sync(kAll, v, 0);
}

// All blocks wait for each other: fine where all fit, a deadlock where they don't.
__device__ void grid_barrier_body(const TestParams& p) {
  if (threadIdx.x == 0) {
    ptx::add_acq_rel(p.flags, 1u);
    while (ptx::add_acq_rel(p.flags, 0u) < gridDim.x) {
    }
  }
  __syncthreads();
  p.b[blockIdx.x * blockDim.x + threadIdx.x] = 1.0f;
}

// The same by plain loads.
__device__ void grid_barrier_by_loads_body(const TestParams& p) {
  if (threadIdx.x == 0) {
    ptx::add_acq_rel(p.flags, 1u);
    while (ptx::load_cg(reinterpret_cast<const float*>(p.flags)) != __uint_as_float(gridDim.x)) {
    }
    ptx::add_acq_rel(p.flags, 0u);
  }
  __syncthreads();
  p.b[blockIdx.x * blockDim.x + threadIdx.x] = 1.0f;
}

__device__ __noinline__ float deep(float* memory, int n) {
  float local[12000];
  for (int i = 0; i < 12000; ++i) local[i] = float(i);
  __syncthreads();
  return local[n] + memory[0];
}
__device__ void large_frame_body(const TestParams& p) {
  p.b[threadIdx.x] = 0;
  p.b[threadIdx.x] = deep(p.b + threadIdx.x, p.n);
}

}  // namespace

#define TWINS(name)                                                              \
  SPLITWISER_KERNEL(name##_bug, TestParams, 256, 1) { name<true>(params); }      \
  SPLITWISER_KERNEL(name##_clean, TestParams, 256, 1) { name<false>(params); }

TWINS(barrier_divided)
TWINS(barrier_after_return)
TWINS(barrier_against_shuffle)
TWINS(mask_without_self)
TWINS(shuffle_from_outsider)
TWINS(lane_returned)
TWINS(different_instructions)
TWINS(mma_divided)
TWINS(ldmatrix_misaligned)
SPLITWISER_KERNEL(sub_masks, TestParams, 256, 1) { sub_masks_body(params); }
SPLITWISER_KERNEL(grid_barrier, TestParams, 256, 1) { grid_barrier_body(params); }
SPLITWISER_KERNEL(grid_barrier_by_loads, TestParams, 256, 1) { grid_barrier_by_loads_body(params); }
SPLITWISER_KERNEL(large_frame, TestParams, 32, 1) { large_frame_body(params); }
