// Compiler words that the kernels need. APART: a function of its own, for compilers allot registers better to a
// loop that stands alone.
#pragma once

#if defined(__clang__)
#define SPLITWISER_INLINE inline __attribute__((always_inline))
#define SPLITWISER_APART __attribute__((noinline))
#define SPLITWISER_UNROLL _Pragma("unroll")
#define SPLITWISER_ROLLED _Pragma("nounroll")
#elif defined(__GNUC__)
#define SPLITWISER_INLINE inline __attribute__((always_inline))
#define SPLITWISER_APART __attribute__((noinline))
#define SPLITWISER_UNROLL _Pragma("GCC unroll 16")
#define SPLITWISER_ROLLED _Pragma("GCC unroll 1")
#else
#define SPLITWISER_INLINE __forceinline
#define SPLITWISER_APART __declspec(noinline)
#define SPLITWISER_UNROLL
#define SPLITWISER_ROLLED
#endif

#if defined(__GNUC__) || defined(__clang__)
#define SPLITWISER_PREFETCH(address) __builtin_prefetch(address)
#else
#define SPLITWISER_PREFETCH(address) static_cast<void>(address)
#endif
