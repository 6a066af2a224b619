// CUDA's keywords, and the built-in variables of the running thread.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "simt/vector_types.hpp"

#define __host__
#define __device__
#define __global__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __grid_constant__
#define __constant__ const
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)

namespace simt {

struct BlockView {
  uint3 block_idx;
  dim3 block_dim, grid_dim;
  char* shared;  // dynamic shared memory
};
struct ThreadView {
  uint3 thread_idx;
  const BlockView* block;
};
// The running fiber's. A block stays on one OS thread; each switch sets it.
extern __thread ThreadView* current_view __attribute__((tls_model("initial-exec")));

// Instrumented code must not read the machine's own data (each read is a callback): it asks.
uint3 thread_idx();
uint3 block_idx();
dim3 block_dim();
dim3 grid_dim();
char* shared_memory();

}  // namespace simt

#if defined(__SANITIZE_THREAD__)
#define threadIdx (::simt::thread_idx())
#define blockIdx (::simt::block_idx())
#define blockDim (::simt::block_dim())
#define gridDim (::simt::grid_dim())
#else
#define threadIdx (::simt::current_view->thread_idx)
#define blockIdx (::simt::current_view->block->block_idx)
#define blockDim (::simt::current_view->block->block_dim)
#define gridDim (::simt::current_view->block->grid_dim)
#endif

inline constexpr int warpSize = 32;
