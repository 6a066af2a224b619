// Integer atomics under CUDA's names (relaxed, device scope) and fences. There are none on floats, on purpose.
#pragma once

#include <cstdint>

namespace simt {

enum class AtomicOp : std::uint8_t { add, min, max, min_signed, max_signed, bit_and, bit_or, bit_xor, exchange };
enum class Order : std::uint8_t { relaxed, acquire_release };

std::uint32_t atomic_32(AtomicOp op, void* at, std::uint32_t value, Order order = Order::relaxed);
std::uint64_t atomic_64(AtomicOp op, void* at, std::uint64_t value, Order order = Order::relaxed);
std::uint32_t compare_and_swap_32(void* at, std::uint32_t expected, std::uint32_t value);
std::uint64_t compare_and_swap_64(void* at, std::uint64_t expected, std::uint64_t value);
void fence();
void nanosleep();
[[noreturn]] void trap();

}  // namespace simt

#define SIMT_ATOMIC(cuda, op, signed_op)                                                                          \
  inline unsigned cuda(unsigned* at, unsigned value) {                                                            \
    return ::simt::atomic_32(::simt::AtomicOp::op, at, value);                                                    \
  }                                                                                                               \
  inline int cuda(int* at, int value) {                                                                           \
    return static_cast<int>(::simt::atomic_32(::simt::AtomicOp::signed_op, at, static_cast<unsigned>(value)));    \
  }                                                                                                               \
  inline unsigned long long cuda(unsigned long long* at, unsigned long long value) {                              \
    return ::simt::atomic_64(::simt::AtomicOp::op, at, value);                                                    \
  }                                                                                                               \
  inline std::uint64_t cuda(std::uint64_t* at, std::uint64_t value) {                                             \
    return ::simt::atomic_64(::simt::AtomicOp::op, at, value);                                                    \
  }
SIMT_ATOMIC(atomicAdd, add, add)
SIMT_ATOMIC(atomicMin, min, min_signed)
SIMT_ATOMIC(atomicMax, max, max_signed)
SIMT_ATOMIC(atomicAnd, bit_and, bit_and)
SIMT_ATOMIC(atomicOr, bit_or, bit_or)
SIMT_ATOMIC(atomicXor, bit_xor, bit_xor)
SIMT_ATOMIC(atomicExch, exchange, exchange)
#undef SIMT_ATOMIC

inline unsigned atomicSub(unsigned* at, unsigned value) { return atomicAdd(at, 0u - value); }
inline int atomicSub(int* at, int value) { return atomicAdd(at, static_cast<int>(0u - static_cast<unsigned>(value))); }
inline unsigned atomicCAS(unsigned* at, unsigned expected, unsigned value) {
  return ::simt::compare_and_swap_32(at, expected, value);
}
inline int atomicCAS(int* at, int expected, int value) {
  return static_cast<int>(
      ::simt::compare_and_swap_32(at, static_cast<unsigned>(expected), static_cast<unsigned>(value)));
}
inline unsigned long long atomicCAS(unsigned long long* at, unsigned long long expected, unsigned long long value) {
  return ::simt::compare_and_swap_64(at, expected, value);
}
inline std::uint64_t atomicCAS(std::uint64_t* at, std::uint64_t expected, std::uint64_t value) {
  return ::simt::compare_and_swap_64(at, expected, value);
}

inline void __threadfence() { ::simt::fence(); }
inline void __threadfence_system() { ::simt::fence(); }
inline void __nanosleep(unsigned) { ::simt::nanosleep(); }
inline void __trap() { ::simt::trap(); }
