// Compiler words that the kernels need.
#pragma once

#if defined(__clang__)
#define SPLITWISER_INLINE inline __attribute__((always_inline))
#define SPLITWISER_UNROLL _Pragma("unroll")
#define SPLITWISER_ROLLED _Pragma("nounroll")
#elif defined(__GNUC__)
#define SPLITWISER_INLINE inline __attribute__((always_inline))
#define SPLITWISER_UNROLL _Pragma("GCC unroll 16")
#define SPLITWISER_ROLLED _Pragma("GCC unroll 1")
#else
#define SPLITWISER_INLINE __forceinline
#define SPLITWISER_UNROLL
#define SPLITWISER_ROLLED
#endif

#if defined(__GNUC__) || defined(__clang__)
#define SPLITWISER_PREFETCH(address) __builtin_prefetch(address)
#else
#define SPLITWISER_PREFETCH(address) static_cast<void>(address)
#endif
