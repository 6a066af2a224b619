// The only file with inline PTX, and the only one that the simulated device replaces (test/simdriver/simt/).
// A kernel sees: the CUDA built-ins (threadIdx, __syncthreads, __shfl_*_sync, __fmaf_rn, integer atomics, ...), and this.
//
// Memory that one grid writes and reads goes through the named loads below or plain accesses ordered by barriers;
// load_nc is for what no kernel of the grid writes. `__restrict__` is not used: it would turn plain loads into .nc ones.
#pragma once

#include <cstdint>

#if !defined(__CUDACC__)
#include "simt/device.hpp"
#else

// Defines a kernel: one parameter struct, `threads` a block, `blocks` a multiprocessor at least.
#define SPLITWISER_KERNEL(name, Params, threads, blocks)                                                     \
  __device__ __forceinline__ void name##_thread(const Params& params);                                       \
  extern "C" __global__ void __launch_bounds__(threads, blocks) name(const __grid_constant__ Params params) { \
    ::splitwiser::ptx::begin_kernel();                                                                       \
    name##_thread(params);                                                                                   \
  }                                                                                                          \
  __device__ __forceinline__ void name##_thread(const Params& params)

namespace splitwiser::ptx {

// How every kernel begins. From sm_90 on a launch may be allowed to begin while the kernel before it still runs
// (programmatic dependent launch): blocks take the places that become free, and wait here until that kernel is complete
// and what it wrote is seen. A kernel that waits before it touches memory is ordered as if it had been launched later.
__device__ __forceinline__ void begin_kernel() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// The block's dynamic shared memory, aligned to 128 bytes. Kernels have no other.
__device__ __forceinline__ char* shared_memory() {
  extern __shared__ __align__(128) char memory[];
  return memory;
}

__device__ __forceinline__ std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

// ---- asynchronous copies ------------------------------------------------------------------------

// 16 bytes from global to shared memory, both aligned to 16; bytes beyond `valid` (0 .. 16) are zero and not read.
__device__ __forceinline__ void cp_async_16(void* to, const void* from, int valid = 16) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(valid) : "memory");
}
// 4 bytes, likewise; for rows that are not aligned to 16.
__device__ __forceinline__ void cp_async_4(void* to, const void* from, int valid = 4) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(to)), "l"(from), "r"(valid) : "memory");
}
__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most `Pending` of this thread's groups are not complete.
template <int Pending>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
}

// ---- matrices -----------------------------------------------------------------------------------

// Lane l names row l % 8 of matrix l / 8: 16 bytes, aligned to 16.
__device__ __forceinline__ void ldmatrix_x4(std::uint32_t (&to)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(shared_address(row)) : "memory");
}
__device__ __forceinline__ void ldmatrix_x4_trans(std::uint32_t (&to)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(shared_address(row)) : "memory");
}
// Lanes 0 .. 15 name the rows; the others' addresses are not used but must be valid.
__device__ __forceinline__ void ldmatrix_x2(std::uint32_t (&to)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(to[0]), "=r"(to[1]) : "r"(shared_address(row)) : "memory");
}
__device__ __forceinline__ void ldmatrix_x2_trans(std::uint32_t (&to)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(to[0]), "=r"(to[1]) : "r"(shared_address(row)) : "memory");
}

struct F16 {};
struct BF16 {};

// d += a [16, 16] . b [16, 8]: fragments as the PTX ISA lays them out for m16n8k16.
__device__ __forceinline__ void mma_m16n8k16(F16, float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ void mma_m16n8k16(BF16, float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// ---- numbers ------------------------------------------------------------------------------------
// 16-bit numbers are kept as their bits.

__device__ __forceinline__ float widen(F16, std::uint16_t bits) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
}
__device__ __forceinline__ float widen(BF16, std::uint16_t bits) { return __uint_as_float(std::uint32_t(bits) << 16); }

// To the nearest, ties to even; beyond the greatest finite number: infinity.
__device__ __forceinline__ std::uint16_t narrow(F16, float value) {
  std::uint16_t bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}
__device__ __forceinline__ std::uint16_t narrow(BF16, float value) {
  std::uint16_t bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}
// Two at once: `low` in bits 0 .. 15.
__device__ __forceinline__ std::uint32_t narrow_pair(F16, float low, float high) {
  std::uint32_t bits;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  return bits;
}
__device__ __forceinline__ std::uint32_t narrow_pair(BF16, float low, float high) {
  std::uint32_t bits;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  return bits;
}

// 2^x, about 2 ulp; exactly 1 at 0 and 0 at -inf; subnormal arguments and results are 0.
__device__ __forceinline__ float exp2_approx(float x) {
  float value;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(value) : "f"(x));
  return value;
}

// ---- global memory ------------------------------------------------------------------------------

// 16 bytes, aligned to 16, through the read-only path: never of what this grid writes.
__device__ __forceinline__ uint4 load_nc_16(const void* from) {
  uint4 value;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w) : "l"(from));
  return value;
}
// Past the L1 cache: sees what other blocks have written and published.
__device__ __forceinline__ float load_cg(const float* from) {
  float value;
  asm volatile("ld.global.cg.f32 %0, [%1];" : "=f"(value) : "l"(from) : "memory");
  return value;
}
__device__ __forceinline__ float4 load_cg_16(const float* from) {
  float4 value;
  asm volatile("ld.global.cg.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(value.x), "=f"(value.y), "=f"(value.z), "=f"(value.w) : "l"(from) : "memory");
  return value;
}
// Adds and returns the old value; orders this thread's earlier and later accesses for the whole device.
__device__ __forceinline__ std::uint32_t add_acq_rel(std::uint32_t* at, std::uint32_t value) {
  std::uint32_t old;
  asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], %2;" : "=r"(old) : "l"(at), "r"(value) : "memory");
  return old;
}

}  // namespace splitwiser::ptx

#endif
