// CUDA's vector types with CUDA's alignment: plain structs.
#pragma once

#include <cstdint>

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3() = default;
  constexpr dim3(unsigned vx, unsigned vy = 1, unsigned vz = 1) : x(vx), y(vy), z(vz) {}
};

// nvcc stores such a struct by one instruction. g++ would build it in place, component by component, and the checked
// tier would count four stores: there, the assignment goes through a vector register.
#if defined(__SANITIZE_THREAD__)
namespace simt {
template <unsigned Bytes>
struct Whole;
template <>
struct Whole<8> {
  using Type = std::uint64_t __attribute__((may_alias));
};
template <>
struct Whole<16> {
  using Type = std::uint32_t __attribute__((vector_size(16), may_alias));
};
}  // namespace simt
#define SIMT_WHOLE(name, bytes)                                                       \
  name& operator=(const name& other) {                                                \
    using Whole = ::simt::Whole<bytes>::Type;                                         \
    *reinterpret_cast<Whole*>(this) = *reinterpret_cast<const Whole*>(&other);        \
    return *this;                                                                     \
  }
#else
#define SIMT_WHOLE(name, bytes)
#endif
#define SIMT_PARTS(name, bytes)

#define SIMT_VECTORS(name, T, align2, align4, whole2, whole4)                                                    \
  struct name##1 { T x; };                                                                                       \
  struct alignas(align2) name##2 { T x, y; whole2(name##2, align2) };                                            \
  struct name##3 { T x, y, z; };                                                                                 \
  struct alignas(align4) name##4 { T x, y, z, w; whole4(name##4, align4) };                                      \
  constexpr name##1 make_##name##1(T x) { return {x}; }                                                          \
  constexpr name##2 make_##name##2(T x, T y) { return {x, y}; }                                                  \
  constexpr name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; }                                          \
  constexpr name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }

SIMT_VECTORS(char, signed char, 2, 4, SIMT_PARTS, SIMT_PARTS)
SIMT_VECTORS(uchar, unsigned char, 2, 4, SIMT_PARTS, SIMT_PARTS)
SIMT_VECTORS(short, short, 4, 8, SIMT_PARTS, SIMT_WHOLE)
SIMT_VECTORS(ushort, unsigned short, 4, 8, SIMT_PARTS, SIMT_WHOLE)
SIMT_VECTORS(int, int, 8, 16, SIMT_WHOLE, SIMT_WHOLE)
SIMT_VECTORS(uint, unsigned, 8, 16, SIMT_WHOLE, SIMT_WHOLE)
SIMT_VECTORS(longlong, long long, 16, 16, SIMT_WHOLE, SIMT_PARTS)
SIMT_VECTORS(ulonglong, unsigned long long, 16, 16, SIMT_WHOLE, SIMT_PARTS)
SIMT_VECTORS(float, float, 8, 16, SIMT_WHOLE, SIMT_WHOLE)
SIMT_VECTORS(double, double, 16, 16, SIMT_WHOLE, SIMT_PARTS)
#undef SIMT_VECTORS
#undef SIMT_WHOLE
#undef SIMT_PARTS
