// Plain C++ for any machine: 4 floats at a time, in loops that compilers turn into vectors. No fma: a product
// and a sum are rounded each (-ffp-contract=off), so bits differ from those of the other instruction sets.
#include <bit>
#include <cstring>

#include "support/half.hpp"
#include "backend/cpu/isa/inline.hpp"
#include "backend/cpu/kernels.hpp"

namespace splitwiser::cpu::portable {

// Four floats with operators: a vector extension of the compiler where there is one.
#if defined(__GNUC__) || defined(__clang__)
using Lanes = float __attribute__((vector_size(16)));
#else
struct Lanes {
  float lane[4];
  float& operator[](int i) { return lane[i]; }
  float operator[](int i) const { return lane[i]; }
};
#define SPLITWISER_OPERATOR(op)                  \
  inline Lanes operator op(Lanes a, Lanes b) {   \
    for (int i = 0; i < 4; ++i) a[i] = a[i] op b[i]; \
    return a;                                    \
  }
SPLITWISER_OPERATOR(+)
SPLITWISER_OPERATOR(-)
SPLITWISER_OPERATOR(*)
SPLITWISER_OPERATOR(/)
#undef SPLITWISER_OPERATOR
#endif

struct V {
  static constexpr int kWidth = 4;
  static constexpr int kTileRows = 3;       // of a linear
  static constexpr int kAttentionRows = 3;
  static constexpr int kAccumulators = 12;  // at most in registers
  static constexpr bool kUnrolled = false;      // a group of k's written out
  Lanes v;

#define SPLITWISER_LANES(expression)                           \
  V result;                                                    \
  for (int i = 0; i < kWidth; ++i) result.v[i] = (expression); \
  return result

  static SPLITWISER_INLINE V set(float x) { return {Lanes{x, x, x, x}}; }
  static SPLITWISER_INLINE V zero() { return set(0.0f); }
  static SPLITWISER_INLINE V load(const float* p) {
    V result;
    std::memcpy(&result.v, p, sizeof result.v);
    return result;
  }
  template <typename T>
  static SPLITWISER_INLINE V load(const T* p) {
    SPLITWISER_LANES(widen(p[i]));
  }
  SPLITWISER_INLINE void store(float* p) const { std::memcpy(p, &v, sizeof v); }
  template <typename T>
  SPLITWISER_INLINE void store(T* p) const {
    for (int i = 0; i < kWidth; ++i) p[i] = splitwiser::narrow<T>(v[i]);
  }

  static SPLITWISER_INLINE V fma(V a, V b, V c) { return {a.v * b.v + c.v}; }
  static SPLITWISER_INLINE V add(V a, V b) { return {a.v + b.v}; }
  static SPLITWISER_INLINE V sub(V a, V b) { return {a.v - b.v}; }
  static SPLITWISER_INLINE V mul(V a, V b) { return {a.v * b.v}; }
  static SPLITWISER_INLINE V div(V a, V b) { return {a.v / b.v}; }
  static SPLITWISER_INLINE V max(V a, V b) { SPLITWISER_LANES(a.v[i] > b.v[i] ? a.v[i] : b.v[i]); }
  static SPLITWISER_INLINE V select_less(V a, V b, V yes, V no) {
    SPLITWISER_LANES(a.v[i] < b.v[i] ? yes.v[i] : no.v[i]);
  }
  static SPLITWISER_INLINE V keep_first(V a, int n, V b) { SPLITWISER_LANES(i < n ? a.v[i] : b.v[i]); }
  static SPLITWISER_INLINE V shift_exponent(V p, V t) {
    SPLITWISER_LANES(
        std::bit_cast<float>(std::bit_cast<std::uint32_t>(p.v[i]) + (std::bit_cast<std::uint32_t>(t.v[i]) << 23)));
  }
  static SPLITWISER_INLINE float first(V a) { return a.v[0]; }
  static SPLITWISER_INLINE float reduce_sum(V a) { return (a.v[0] + a.v[2]) + (a.v[1] + a.v[3]); }
  static SPLITWISER_INLINE float reduce_max(V a) {
    const float x = a.v[0] > a.v[2] ? a.v[0] : a.v[2];
    const float y = a.v[1] > a.v[3] ? a.v[1] : a.v[3];
    return x > y ? x : y;
  }

#undef SPLITWISER_LANES
};

#include "backend/cpu/isa/math.inl"

#include "backend/cpu/isa/attention.inl"
#include "backend/cpu/isa/linear.inl"
#include "backend/cpu/isa/rows.inl"

}  // namespace splitwiser::cpu::portable

namespace splitwiser::cpu {

const CpuKernels& portable_kernels() {
  static constexpr CpuKernels kTable = portable::table(Isa::portable);
  return kTable;
}

}  // namespace splitwiser::cpu
