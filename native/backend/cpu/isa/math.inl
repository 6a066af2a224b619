// Functions of one vector, written once over V; included inside an instruction set's namespace.

// Vectors of one panel, and k's of a packed row that lie together.
constexpr int kVectors = kPanel / V::kWidth;
constexpr int kGroup = V::kWidth > 8 ? V::kWidth : 8;

// exp(x) for x <= 0: 2^n p(r), r = x - n ln 2 in two steps, |r| <= ln(2) / 2. exp(0) is exactly 1, below
// -86.5 the result is exactly 0. The polynomial is a minimax fit of our own (relative error 3e-9 in exact
// arithmetic, 8e-8 in f32).
SPLITWISER_INLINE V exp_nonpositive(V x) {
  const V shift = V::set(0x1.8p23f);  // adding it rounds to an integer, left in the low bits
  const V t = V::fma(x, V::set(0x1.715476p0f), shift);
  const V n = V::sub(t, shift);
  V r = V::fma(n, V::set(-0x1.62e4p-1f), x);
  r = V::fma(n, V::set(-0x1.7f7d1cp-20f), r);
  V p = V::set(0.0013813265832141042f);
  p = V::fma(p, r, V::set(0.008368844166398048f));
  p = V::fma(p, r, V::set(0.041668426245450974f));
  p = V::fma(p, r, V::set(0.1666651964187622f));
  p = V::fma(p, r, V::set(0.4999999403953552f));
  p = V::fma(p, r, V::set(1.0f));
  p = V::fma(p, r, V::set(1.0f));
  return V::select_less(x, V::set(-86.5f), V::zero(), V::shift_exponent(p, t));
}

// x Phi(x), Phi the normal distribution, with the exact tail: for t = |x| and u = 1 / (1 + t / 4),
// Phi(-t) = exp(-t^2 / 2) u P(u), P a fit of our own (relative error 6e-8 for t <= 14).
SPLITWISER_INLINE V gelu(V x) {
  const V t = V::max(x, V::sub(V::zero(), x));
  const V u = V::div(V::set(1.0f), V::fma(t, V::set(0.25f), V::set(1.0f)));
  V p = V::set(0.02616935968399048f);
  p = V::fma(p, u, V::set(-0.15490591526031494f));
  p = V::fma(p, u, V::set(0.3003018796443939f));
  p = V::fma(p, u, V::set(-0.21038727462291718f));
  p = V::fma(p, u, V::set(0.20481520891189575f));
  p = V::fma(p, u, V::set(0.03167765587568283f));
  p = V::fma(p, u, V::set(0.10405377298593521f));
  p = V::fma(p, u, V::set(0.09847547113895416f));
  p = V::fma(p, u, V::set(0.09979981929063797f));
  const V tail = V::mul(V::mul(p, u), exp_nonpositive(V::mul(V::mul(t, V::set(-0.5f)), t)));
  return V::mul(x, V::select_less(x, V::zero(), tail, V::sub(V::set(1.0f), tail)));
}

// 1 / (1 + e^-x), by way of e^-|x|.
SPLITWISER_INLINE V sigmoid(V x) {
  const V e = exp_nonpositive(V::sub(V::zero(), V::max(x, V::sub(V::zero(), x))));
  const V tail = V::div(e, V::add(V::set(1.0f), e));
  return V::select_less(x, V::zero(), tail, V::sub(V::set(1.0f), tail));
}

SPLITWISER_INLINE V silu(V x) { return V::mul(x, sigmoid(x)); }

// 0.5 x (1 + tanh(u)) with u = sqrt(2 / pi) (x + 0.044715 x^3): x sigmoid(2 u).
SPLITWISER_INLINE V gelu_tanh(V x) {
  const V twice = V::mul(x, V::fma(V::mul(x, x), V::set(0.0713548162726f), V::set(1.59576912160573f)));
  return V::mul(x, sigmoid(twice));
}

// acc[r][p * kVectors + v] = fma(x[r][k], w[p][k], acc) for k in [0, k_end) ascending: the one inner loop of
// linears, scores and the sum of values.
//   x: [k / kGroup][...][kGroup], group_stride floats from one group of k to the next; row r at r * kGroup
//   w[p]: a panel, w_row elements from one k to the next
template <int Rows, int Panels, typename T>
SPLITWISER_INLINE void chain_step(V (&acc)[Rows][Panels * kVectors], const float* x, const T* (&w)[Panels],
                                  std::int64_t w_row) {
  V b[Panels * kVectors];
  SPLITWISER_UNROLL
  for (int p = 0; p < Panels; ++p) {
    SPLITWISER_UNROLL
    for (int v = 0; v < kVectors; ++v) b[p * kVectors + v] = V::load(w[p] + v * V::kWidth);
    w[p] += w_row;
  }
  SPLITWISER_UNROLL
  for (int r = 0; r < Rows; ++r) {
    const V a = V::set(x[r * kGroup]);
    SPLITWISER_UNROLL
    for (int v = 0; v < Panels * kVectors; ++v) acc[r][v] = V::fma(a, b[v], acc[r][v]);
  }
}

template <int Rows, int Panels, typename T>
SPLITWISER_INLINE void chain(V (&acc)[Rows][Panels * kVectors], const float* x, std::int64_t group_stride,
                             const T* const (&panels)[Panels], std::int64_t w_row, std::int64_t k_end) {
  const T* w[Panels];
  SPLITWISER_UNROLL
  for (int p = 0; p < Panels; ++p) w[p] = panels[p];
  std::int64_t k = 0;
  for (; k + kGroup <= k_end; k += kGroup, x += group_stride) {
    if constexpr (V::kUnrolled) {
      SPLITWISER_UNROLL
      for (int i = 0; i < kGroup; ++i) chain_step<Rows, Panels, T>(acc, x + i, w, w_row);
    } else {
      SPLITWISER_ROLLED
      for (int i = 0; i < kGroup; ++i) chain_step<Rows, Panels, T>(acc, x + i, w, w_row);
    }
  }
  for (; k < k_end; ++k, ++x) chain_step<Rows, Panels, T>(acc, x, w, w_row);
}

// Panels whose accumulators fit in registers beside each other for a number of rows, at most 4: few rows
// need several chains in flight to hide the latency of an fma.
constexpr int panels_at_once(int rows) {
  const int fit = V::kAccumulators / (rows * kVectors);
  return fit < 1 ? 1 : fit > 4 ? 4 : fit;
}

// Calls Kernel<rows>::run(arguments...) for rows in 1 .. Rows.
template <template <int> class Kernel, int Rows, typename... Arguments>
SPLITWISER_INLINE void with_rows(int rows, const Arguments&... arguments) {
  if constexpr (Rows == 1) {
    Kernel<1>::run(arguments...);
  } else if (rows == Rows) {
    Kernel<Rows>::run(arguments...);
  } else {
    with_rows<Kernel, Rows - 1>(rows, arguments...);
  }
}
