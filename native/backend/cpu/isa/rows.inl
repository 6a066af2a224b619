// Row by row operations and the table; included inside an instruction set's namespace.

// Sum over a row in an order fixed by its length: four vectors in turn, then one tree.
template <typename Term>
SPLITWISER_INLINE float row_sum(const float* x, std::int64_t cols, const Term& term) {
  V sums[4] = {V::zero(), V::zero(), V::zero(), V::zero()};
  std::int64_t c = 0;
  for (; c + 4 * V::kWidth <= cols; c += 4 * V::kWidth) {
    SPLITWISER_UNROLL
    for (int i = 0; i < 4; ++i) sums[i] = term.add(sums[i], V::load(x + c + i * V::kWidth));
  }
  for (; c + V::kWidth <= cols; c += V::kWidth) sums[0] = term.add(sums[0], V::load(x + c));
  if (c < cols) {
    float edge[V::kWidth] = {};
    for (std::int64_t i = c; i < cols; ++i) edge[i - c] = x[i];
    const int valid = static_cast<int>(cols - c);
    sums[1] = V::keep_first(term.add(sums[1], V::load(edge)), valid, sums[1]);
  }
  return V::reduce_sum(V::add(V::add(sums[0], sums[1]), V::add(sums[2], sums[3])));
}

struct Plain {
  SPLITWISER_INLINE V add(V sum, V x) const { return V::add(sum, x); }
};
struct SquaredDistance {
  V mean;
  SPLITWISER_INLINE V add(V sum, V x) const {
    const V d = V::sub(x, mean);
    return V::fma(d, d, sum);
  }
};

// Mean, then variance: two passes.
inline void layer_norm(const float* x, const float* weight, const float* bias, float eps, std::int64_t cols, float* out) {
  const float count = static_cast<float>(cols);
  const float mean = row_sum(x, cols, Plain{}) / count;
  const float variance = row_sum(x, cols, SquaredDistance{V::set(mean)}) / count;
  const float scale = 1.0f / __builtin_sqrtf(variance + eps);
  std::int64_t c = 0;
  for (; c + V::kWidth <= cols; c += V::kWidth) {
    const V y = V::mul(V::sub(V::load(x + c), V::set(mean)), V::set(scale));
    V::fma(y, V::load(weight + c), V::load(bias + c)).store(out + c);
  }
  for (; c < cols; ++c) {
    const V y = V::mul(V::sub(V::set(x[c]), V::set(mean)), V::set(scale));
    out[c] = V::first(V::fma(y, V::set(weight[c]), V::set(bias[c])));
  }
}

template <typename T>
inline void narrow_to(const float* from, std::int64_t count, T* to) {
  std::int64_t i = 0;
  for (; i + V::kWidth <= count; i += V::kWidth) V::load(from + i).store(to + i);
  for (; i < count; ++i) to[i] = splitwiser::narrow<T>(from[i]);
}

inline void narrow(const float* from, std::int64_t count, DType type, std::byte* to) {
  switch (type) {
    case DType::f32: return narrow_to(from, count, reinterpret_cast<float*>(to));
    case DType::f16: return narrow_to(from, count, reinterpret_cast<F16*>(to));
    case DType::bf16: return narrow_to(from, count, reinterpret_cast<BF16*>(to));
  }
}

constexpr CpuKernels table(Isa isa) {
  return {isa, V::kTileRows, kGroup, &pack_rows, &linear, &attention, &merge_splits, &layer_norm, &narrow};
}
