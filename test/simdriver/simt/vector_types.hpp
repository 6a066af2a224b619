// CUDA's vector types with CUDA's alignment: plain structs.
#pragma once

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3() = default;
  constexpr dim3(unsigned vx, unsigned vy = 1, unsigned vz = 1) : x(vx), y(vy), z(vz) {}
};

#define SIMT_VECTORS(name, T, align2, align4)                                                                    \
  struct name##1 { T x; };                                                                                       \
  struct alignas(align2) name##2 { T x, y; };                                                                    \
  struct name##3 { T x, y, z; };                                                                                 \
  struct alignas(align4) name##4 { T x, y, z, w; };                                                              \
  constexpr name##1 make_##name##1(T x) { return {x}; }                                                          \
  constexpr name##2 make_##name##2(T x, T y) { return {x, y}; }                                                  \
  constexpr name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; }                                          \
  constexpr name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }

SIMT_VECTORS(char, signed char, 2, 4)
SIMT_VECTORS(uchar, unsigned char, 2, 4)
SIMT_VECTORS(short, short, 4, 8)
SIMT_VECTORS(ushort, unsigned short, 4, 8)
SIMT_VECTORS(int, int, 8, 16)
SIMT_VECTORS(uint, unsigned, 8, 16)
SIMT_VECTORS(longlong, long long, 16, 16)
SIMT_VECTORS(ulonglong, unsigned long long, 16, 16)
SIMT_VECTORS(float, float, 8, 16)
SIMT_VECTORS(double, double, 16, 16)
#undef SIMT_VECTORS
