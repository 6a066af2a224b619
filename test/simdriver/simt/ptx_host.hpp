// splitwiser::ptx for the simulated device: the functions of kernels/ptx.cuh, same names and signatures.
#pragma once

#include <cstdint>

#include "simt/atomics.hpp"
#include "simt/language.hpp"
#include "simt/numbers.hpp"
#include "simt/vector_types.hpp"

namespace simt {

void cp_async(void* to, const void* from, int bytes, int valid);
void cp_async_commit();
void cp_async_wait(int pending);
void ldmatrix(std::uint32_t* to, int matrices, bool transposed, const void* row);
void mma_m16n8k16(bool bf16, float* d, const std::uint32_t* a, const std::uint32_t* b);
std::uint32_t shared_address(const void* pointer);
uint4 load_nc_16(const void* from);
float load_cg(const float* from);
float4 load_cg_16(const float* from);

}  // namespace simt

namespace splitwiser::ptx {

#if defined(__SANITIZE_THREAD__)
inline char* shared_memory() { return ::simt::shared_memory(); }
#else
inline char* shared_memory() { return ::simt::current_view->block->shared; }
#endif
inline std::uint32_t shared_address(const void* pointer) { return ::simt::shared_address(pointer); }

inline void cp_async_16(void* to, const void* from, int valid = 16) { ::simt::cp_async(to, from, 16, valid); }
inline void cp_async_4(void* to, const void* from, int valid = 4) { ::simt::cp_async(to, from, 4, valid); }
inline void cp_async_commit() { ::simt::cp_async_commit(); }
template <int Pending>
inline void cp_async_wait() {
  ::simt::cp_async_wait(Pending);
}

inline void ldmatrix_x4(std::uint32_t (&to)[4], const void* row) { ::simt::ldmatrix(to, 4, false, row); }
inline void ldmatrix_x4_trans(std::uint32_t (&to)[4], const void* row) { ::simt::ldmatrix(to, 4, true, row); }
inline void ldmatrix_x2(std::uint32_t (&to)[2], const void* row) { ::simt::ldmatrix(to, 2, false, row); }
inline void ldmatrix_x2_trans(std::uint32_t (&to)[2], const void* row) { ::simt::ldmatrix(to, 2, true, row); }

struct F16 {};
struct BF16 {};

inline void mma_m16n8k16(F16, float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  ::simt::mma_m16n8k16(false, d, a, b);
}
inline void mma_m16n8k16(BF16, float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  ::simt::mma_m16n8k16(true, d, a, b);
}

inline float widen(F16, std::uint16_t bits) { return ::simt::widen_f16(bits); }
inline float widen(BF16, std::uint16_t bits) { return ::simt::widen_bf16(bits); }
inline std::uint16_t narrow(F16, float value) { return ::simt::narrow_f16(value); }
inline std::uint16_t narrow(BF16, float value) { return ::simt::narrow_bf16(value); }
inline std::uint32_t narrow_pair(F16, float low, float high) {
  return ::simt::narrow_f16(low) | static_cast<std::uint32_t>(::simt::narrow_f16(high)) << 16;
}
inline std::uint32_t narrow_pair(BF16, float low, float high) {
  return ::simt::narrow_bf16(low) | static_cast<std::uint32_t>(::simt::narrow_bf16(high)) << 16;
}

// Subnormal arguments count as 0, subnormal results are 0; 1 at 0 and 0 at -inf come out exact.
inline float exp2_approx(float x) {
  if (x < -126.0f) return 0.0f;
  return ::exp2f(x);
}

inline uint4 load_nc_16(const void* from) { return ::simt::load_nc_16(from); }
inline float load_cg(const float* from) { return ::simt::load_cg(from); }
inline float4 load_cg_16(const float* from) { return ::simt::load_cg_16(from); }
inline std::uint32_t add_acq_rel(std::uint32_t* at, std::uint32_t value) {
  return ::simt::atomic_32(::simt::AtomicOp::add, at, value, ::simt::Order::acquire_release);
}

}  // namespace splitwiser::ptx
