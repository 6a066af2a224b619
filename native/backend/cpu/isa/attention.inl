// Attention of one task; included inside an instruction set's namespace.

// Per-row states of a task in scratch.
struct States {
  float* max;     // [rows]
  float* sum;     // [rows]
  float* output;  // [rows][padded_dim], not yet divided by the sum
};

// Maximum from which exponents are taken: where no key was seen yet nothing is subtracted.
SPLITWISER_INLINE float base_of(float max) { return max == -__builtin_inff() ? 0.0f : max; }
SPLITWISER_INLINE float exp_of(float x) { return V::first(exp_nonpositive(V::set(x))); }

// The one merge: folds `from` into `into`, elementwise, `into` first. Merging into the empty state gives
// `from` exactly.
inline void merge(float& max, float& sum, float* output, float from_max, float from_sum, const float* from, int dim) {
  const float both = max > from_max ? max : from_max;
  const float base = base_of(both);
  const float a = exp_of(max - base);
  const float b = exp_of(from_max - base);
  max = both;
  sum = V::first(V::fma(V::set(sum), V::set(a), V::mul(V::set(from_sum), V::set(b))));
  for (int d = 0; d < dim; d += V::kWidth) {
    V::fma(V::load(output + d), V::set(a), V::mul(V::load(from + d), V::set(b))).store(output + d);
  }
}

inline void reset(const States& states, std::int64_t rows, int dim) {
  for (std::int64_t r = 0; r < rows; ++r) {
    states.max[r] = -__builtin_inff();
    states.sum[r] = 0;
  }
  for (std::int64_t i = 0; i < rows * dim; i += V::kWidth) V::zero().store(states.output + i);
}

// out = output / sum.
inline void write_row(const AttentionArgs& args, int kv_head, std::int64_t row, float sum, float* output) {
  const int dim = args.kv.head_dim;
  for (int d = 0; d < dim; d += V::kWidth) V::div(V::load(output + d), V::set(sum)).store(output + d);
  const std::int64_t head = std::int64_t(kv_head) * args.group + row % args.group;
  float* out = args.out + row / args.group * args.out_stride + head * dim;
  int d = 0;
  for (; d + V::kWidth <= dim; d += V::kWidth) V::load(output + d).store(out + d);
  for (; d < dim; ++d) out[d] = output[d];
}

// One leaf's keys and values as tasks see them.
template <typename T>
struct Leaf {
  const T* keys[kLeaf / kKeyGroup];    // a group: [head_dim][key_stride], its keys first
  std::int64_t key_stride[kLeaf / kKeyGroup];
  const T* values[kLeaf / kKeyGroup];  // a group: [keys][padded_dim]
};

// Copies `count` columns of keys [head_dim][stride] to [head_dim][kKeyGroup], the others zero: columns after
// the sequence's last token may be written by another sequence at this moment and are never read.
template <typename T>
inline void copy_key_tail(const T* keys, std::int64_t stride, int dim, int count, T* to) {
  for (int i = 0; i < dim * kKeyGroup; ++i) to[i] = T{};
  int at = 0;
  if (count & 8) {
    for (int d = 0; d < dim; ++d) __builtin_memcpy(to + d * kKeyGroup, keys + d * stride, 8 * sizeof(T));
    at = 8;
  }
  if (count & 4) {
    for (int d = 0; d < dim; ++d) __builtin_memcpy(to + d * kKeyGroup + at, keys + d * stride + at, 4 * sizeof(T));
    at += 4;
  }
  for (; at < count; ++at) {
    for (int d = 0; d < dim; ++d) to[d * kKeyGroup + at] = keys[d * stride + at];
  }
}

template <typename T>
inline Leaf<T> find_leaf(const AttentionArgs& args, int kv_head, std::int64_t begin, std::int64_t end, T* tail) {
  Leaf<T> leaf{};
  const KvLayer& kv = args.kv;
  for (std::int64_t position = begin; position < end; position += kKeyGroup) {
    const std::int64_t g = (position - begin) / kKeyGroup;
    const std::int64_t page = args.pages[position / kv.page_size];
    const std::int64_t column = position % kv.page_size;
    leaf.keys[g] = reinterpret_cast<const T*>(kv.keys(page, kv_head)) + column;
    leaf.key_stride[g] = kv.page_size;
    leaf.values[g] = reinterpret_cast<const T*>(kv.values(page, kv_head)) + column * kv.padded_dim;
    const std::int64_t valid = args.kv_length - position;
    if (valid >= kKeyGroup) continue;
    copy_key_tail(leaf.keys[g], kv.page_size, kv.head_dim, static_cast<int>(valid), tail);
    leaf.keys[g] = tail;
    leaf.key_stride[g] = kKeyGroup;
  }
  return leaf;
}

// Widens a leaf that several rows will read.
template <typename T>
inline Leaf<float> widen_leaf(const AttentionArgs& args, const Leaf<T>& from, std::int64_t begin, std::int64_t end,
                              float* keys, float* values) {
  Leaf<float> leaf{};
  const int dim = args.kv.head_dim;
  const int padded = args.kv.padded_dim;
  for (std::int64_t position = begin; position < end; position += kKeyGroup) {
    const std::int64_t g = (position - begin) / kKeyGroup;
    float* k = keys + g * dim * kKeyGroup;
    for (int d = 0; d < dim; ++d) {
      for (int i = 0; i < kKeyGroup; i += V::kWidth) {
        V::load(from.keys[g] + d * from.key_stride[g] + i).store(k + d * kKeyGroup + i);
      }
    }
    float* v = values + g * kKeyGroup * padded;
    const std::int64_t valid = args.kv_length - position < kKeyGroup ? args.kv_length - position : kKeyGroup;
    for (std::int64_t i = 0; i < valid * padded; i += V::kWidth) V::load(from.values[g] + i).store(v + i);
    leaf.keys[g] = k;
    leaf.key_stride[g] = kKeyGroup;
    leaf.values[g] = v;
  }
  return leaf;
}

// Dot products of Rows query rows with Groups x kKeyGroup keys, into the packed layout of `chain`.
template <int Rows, int Groups, typename T>
SPLITWISER_APART void score_groups(const float* q, const T* const (&keys)[Groups], std::int64_t stride, int dim,
                                    float* scores) {
  V acc[Rows][Groups * kVectors];
  SPLITWISER_UNROLL
  for (int r = 0; r < Rows; ++r) {
    SPLITWISER_UNROLL
    for (int v = 0; v < Groups * kVectors; ++v) acc[r][v] = V::zero();
  }
  chain<Rows, Groups, T>(acc, q, Rows * kGroup, keys, stride, dim);
  SPLITWISER_UNROLL
  for (int v = 0; v < Groups * kVectors; ++v) {
    const int key = v * V::kWidth;
    SPLITWISER_UNROLL
    for (int r = 0; r < Rows; ++r) acc[r][v].store(scores + (key / kGroup * Rows + r) * kGroup + key % kGroup);
  }
}

// output[r] = output[r] * alpha[r] + sum over keys [0, end) of p[r][key] value[key], for one block of columns.
template <int Rows, int Panels, typename T>
SPLITWISER_APART void add_block(const Leaf<T>& leaf, const float* p, int padded, int column, int end, const float* alpha,
                                 float* output) {
  V acc[Rows][Panels * kVectors];
  SPLITWISER_UNROLL
  for (int r = 0; r < Rows; ++r) {
    SPLITWISER_UNROLL
    for (int v = 0; v < Panels * kVectors; ++v) {
      acc[r][v] = V::mul(V::load(output + r * padded + column + v * V::kWidth), V::set(alpha[r]));
    }
  }
  for (int key = 0; key < end; key += kKeyGroup) {
    const int count = end - key < kKeyGroup ? end - key : kKeyGroup;
    const T* w[Panels];
    SPLITWISER_UNROLL
    for (int i = 0; i < Panels; ++i) w[i] = leaf.values[key / kKeyGroup] + column + i * kPanel;
    chain<Rows, Panels, T>(acc, p + key * Rows, Rows * kGroup, w, padded, count);
  }
  SPLITWISER_UNROLL
  for (int r = 0; r < Rows; ++r) {
    SPLITWISER_UNROLL
    for (int v = 0; v < Panels * kVectors; ++v) acc[r][v].store(output + r * padded + column + v * V::kWidth);
  }
}

template <int Rows, typename T>
SPLITWISER_INLINE void add_values(const Leaf<T>& leaf, const float* p, int padded, int end, const float* alpha,
                                  float* output) {
  constexpr int kAtOnce = panels_at_once(Rows);
  int column = 0;
  for (; column + kAtOnce * kPanel <= padded; column += kAtOnce * kPanel) {
    add_block<Rows, kAtOnce, T>(leaf, p, padded, column, end, alpha, output);
  }
  if constexpr (kAtOnce > 1) {
    for (; column < padded; column += kPanel) add_block<Rows, 1, T>(leaf, p, padded, column, end, alpha, output);
  }
}

// output += p[key] value[key] for keys [begin, end) of one row; p: [key / kGroup][group_stride].
template <typename T>
inline void add_rest(const Leaf<T>& leaf, const float* p, std::int64_t group_stride, int padded, int begin, int end,
                     float* output) {
  for (int key = begin; key < end; ++key) {
    const V weight = V::set(p[key / kGroup * group_stride + key % kGroup]);
    const T* value = leaf.values[key / kKeyGroup] + key % kKeyGroup * padded;
    for (int d = 0; d < padded; d += V::kWidth) {
      V::fma(weight, V::load(value + d), V::load(output + d)).store(output + d);
    }
  }
}

// Scores of a tile become weights of its values; alpha[r] is the factor of what was summed before. Keys after
// valid[r] weigh exactly 0. The sum of a row is one fixed tree over the whole leaf.
template <int Rows>
SPLITWISER_INLINE void soften(float* scores, const int (&valid)[kMaxTileRows], float scale, const States& states,
                              float* alpha) {
  constexpr int kCount = kLeaf / V::kWidth;
  constexpr int kPadded = (Rows + V::kWidth - 1) / V::kWidth * V::kWidth;
  float change[kPadded] = {};
  float sums[kPadded] = {};
  float leaf_sums[kPadded] = {};
  for (int r = 0; r < Rows; ++r) {
    V s[kCount];
    V top = V::set(-__builtin_inff());
    SPLITWISER_UNROLL
    for (int i = 0; i < kCount; ++i) {
      const int key = i * V::kWidth;
      s[i] = V::mul(V::load(scores + (key / kGroup * Rows + r) * kGroup + key % kGroup), V::set(scale));
      if (valid[r] < key + V::kWidth) s[i] = V::keep_first(s[i], valid[r] - key, V::set(-__builtin_inff()));
      top = V::max(top, s[i]);
    }
    const float leaf_max = V::reduce_max(top);
    const float max = states.max[r] > leaf_max ? states.max[r] : leaf_max;
    const V base = V::set(base_of(max));
    SPLITWISER_UNROLL
    for (int i = 0; i < kCount; ++i) {
      const int key = i * V::kWidth;
      s[i] = exp_nonpositive(V::sub(s[i], base));
      s[i].store(scores + (key / kGroup * Rows + r) * kGroup + key % kGroup);
    }
    SPLITWISER_UNROLL
    for (int width = kCount / 2; width > 0; width /= 2) {
      SPLITWISER_UNROLL
      for (int i = 0; i < width; ++i) s[i] = V::add(s[i], s[i + width]);
    }
    leaf_sums[r] = V::reduce_sum(s[0]);
    change[r] = states.max[r] - base_of(max);
    sums[r] = states.sum[r];
    states.max[r] = max;
  }
  for (int r = 0; r < kPadded; r += V::kWidth) {
    const V factor = exp_nonpositive(V::load(change + r));
    factor.store(alpha + r);
    V::fma(V::load(sums + r), factor, V::load(leaf_sums + r)).store(sums + r);
  }
  for (int r = 0; r < Rows; ++r) states.sum[r] = sums[r];
}

// One tile and one leaf. valid[r]: keys of the leaf that row r sees, ascending in r.
template <typename T>
struct LeafStep {
  template <int Rows>
  struct ForRows {
    static void run(const AttentionArgs& args, const Leaf<T>& leaf, const int (&valid)[kMaxTileRows], const float* q,
                    float* scores, const States& states) {
      const int dim = args.kv.head_dim;
      const int padded = args.kv.padded_dim;
      constexpr int kAtOnce = panels_at_once(Rows);
      constexpr int kGroups = kLeaf / kKeyGroup;
      const int groups = (valid[Rows - 1] + kKeyGroup - 1) / kKeyGroup;
      int g = 0;
      if constexpr (kAtOnce > 1) {
        // Groups with one stride; the tail, if it was copied, has its own.
        for (; g + kAtOnce <= groups && leaf.key_stride[g + kAtOnce - 1] == leaf.key_stride[g]; g += kAtOnce) {
          const T* keys[kAtOnce];
          SPLITWISER_UNROLL
          for (int i = 0; i < kAtOnce; ++i) keys[i] = leaf.keys[g + i];
          score_groups<Rows, kAtOnce, T>(q, keys, leaf.key_stride[g], dim, scores + g * kKeyGroup * Rows);
        }
      }
      for (; g < groups; ++g) {
        const T* keys[1] = {leaf.keys[g]};
        score_groups<Rows, 1, T>(q, keys, leaf.key_stride[g], dim, scores + g * kKeyGroup * Rows);
      }
      for (int i = groups * kKeyGroup * Rows; i < kGroups * kKeyGroup * Rows; i += V::kWidth) V::zero().store(scores + i);

      float alpha[kMaxTileRows + V::kWidth];
      soften<Rows>(scores, valid, args.scale, states, alpha);
      // Keys that all rows see, then each row's own rest: a key of weight 0 is not added, for 0 x infinity
      // and -0 + 0 would change what the row has alone.
      add_values<Rows, T>(leaf, scores, padded, valid[0], alpha, states.output);
      for (int r = 1; r < Rows; ++r) {
        add_rest<T>(leaf, scores + r * kGroup, Rows * kGroup, padded, valid[0], valid[r], states.output + r * padded);
      }
    }
  };
};

template <typename T>
inline void attend_leaf(const AttentionArgs& args, const std::int64_t* lengths, Tiling tiling, const Leaf<T>& leaf,
                        std::int64_t leaf_begin, const float* q, float* scores, const States& states) {
  const int padded_q = static_cast<int>(round_up(args.kv.head_dim, kGroup));
  for (std::int64_t t = 0; t < tiling.tiles; ++t) {
    const std::int64_t begin = tiling.begin(t);
    const int rows = static_cast<int>(tiling.begin(t + 1) - begin);
    int valid[kMaxTileRows] = {};
    for (int r = 0; r < rows; ++r) {
      const std::int64_t count = lengths[begin + r] - leaf_begin;
      valid[r] = static_cast<int>(count < 0 ? 0 : count > kLeaf ? kLeaf : count);
    }
    if (valid[rows - 1] == 0) continue;
    const States tile{states.max + begin, states.sum + begin, states.output + begin * args.kv.padded_dim};
    if constexpr (kDTypeOf<T> == DType::f32) {
      with_rows<LeafStep<T>::template ForRows, V::kAttentionRows>(rows, args, leaf, valid, q + begin * padded_q, scores, tile);
    } else {
      LeafStep<T>::template ForRows<1>::run(args, leaf, valid, q + begin * padded_q, scores, tile);
    }
  }
}

template <typename T>
void attention_of(const AttentionArgs& args, const AttentionTask& task, float* scratch) {
  const int dim = args.kv.head_dim;
  const int padded = args.kv.padded_dim;
  const std::int64_t padded_q = round_up(dim, kGroup);
  const std::int64_t rows = task.row_end - task.row_begin;
  const Tiling tiling = tile_rows(rows, V::kAttentionRows);

  const auto take = [&](std::int64_t floats) {
    float* taken = scratch;
    scratch += round_up(floats, 16);
    return taken;
  };
  float* q = take(rows * padded_q);
  const States current{take(rows), take(rows), take(rows * padded)};
  const States folded{take(rows), take(rows), take(rows * padded)};
  float* scores = take(V::kAttentionRows * kLeaf);
  T* tail = reinterpret_cast<T*>(take(dim * kKeyGroup));
  float* wide_keys = take(dim * kLeaf);
  float* wide_values = take(kLeaf * padded);

  std::int64_t lengths[kMaxAttentionRows];  // keys that each row sees
  for (std::int64_t t = 0; t < tiling.tiles; ++t) {
    const std::int64_t begin = tiling.begin(t);
    const std::int64_t count = tiling.begin(t + 1) - begin;
    for (std::int64_t r = 0; r < count; ++r) {
      const std::int64_t row = task.row_begin + begin + r;
      lengths[begin + r] = args.length(row);
      const std::int64_t head = std::int64_t(task.kv_head) * args.group + row % args.group;
      const float* from = args.q + row / args.group * args.q_stride + head * dim;
      float* to = q + begin * padded_q + r * kGroup;
      int d = 0;
      for (; d + kGroup <= dim; d += kGroup, to += count * kGroup) {
        SPLITWISER_UNROLL
        for (int i = 0; i < kGroup; i += V::kWidth) V::load(from + d + i).store(to + i);
      }
      for (int i = 0; d < dim; ++d, ++i) to[i] = from[d];
    }
  }

  reset(folded, rows, padded);
  const std::int64_t end = lengths[rows - 1];
  const std::int64_t first = task.split < 0 ? 0 : task.split;
  const std::int64_t last = task.split < 0 ? ceil_div(end, kSplit) : task.split + 1;
  for (std::int64_t split = first; split < last; ++split) {
    reset(current, rows, padded);
    const std::int64_t split_end = (split + 1) * kSplit < end ? (split + 1) * kSplit : end;
    for (std::int64_t begin = split * kSplit; begin < split_end; begin += kLeaf) {
      const std::int64_t leaf_end = begin + kLeaf < split_end ? begin + kLeaf : split_end;
      const Leaf<T> leaf = find_leaf<T>(args, task.kv_head, begin, leaf_end, tail);
      if constexpr (kDTypeOf<T> != DType::f32) {
        if (rows > 1) {
          const Leaf<float> wide = widen_leaf<T>(args, leaf, begin, leaf_end, wide_keys, wide_values);
          attend_leaf<float>(args, lengths, tiling, wide, begin, q, scores, current);
          continue;
        }
      }
      attend_leaf<T>(args, lengths, tiling, leaf, begin, q, scores, current);
    }
    for (std::int64_t r = 0; r < rows; ++r) {
      const float* output = current.output + r * padded;
      if (task.split >= 0) {
        float* partial = task.partial + r * partial_stride(padded);
        partial[0] = current.max[r];
        partial[1] = current.sum[r];
        for (int d = 0; d < padded; d += V::kWidth) V::load(output + d).store(partial + kPartialHeader + d);
      } else if (split * kSplit < lengths[r]) {
        merge(folded.max[r], folded.sum[r], folded.output + r * padded, current.max[r], current.sum[r], output, padded);
      }
    }
  }
  if (task.split >= 0) return;
  for (std::int64_t r = 0; r < rows; ++r) {
    write_row(args, task.kv_head, task.row_begin + r, folded.sum[r], folded.output + r * padded);
  }
}

inline void attention(const AttentionArgs& args, const AttentionTask& task, float* scratch) {
  switch (args.kv.dtype) {
    case DType::f32: return attention_of<float>(args, task, scratch);
    case DType::f16: return attention_of<F16>(args, task, scratch);
    case DType::bf16: return attention_of<BF16>(args, task, scratch);
  }
}

inline void merge_splits(const AttentionArgs& args, const AttentionTask& task, const float* partial, float* scratch) {
  const int padded = args.kv.padded_dim;
  const std::int64_t rows = task.row_end - task.row_begin;
  for (std::int64_t r = 0; r < rows; ++r) {
    float max;
    float sum;
    const States state{&max, &sum, scratch};
    reset(state, 1, padded);
    for (std::int64_t split = 0; split * kSplit < args.length(task.row_begin + r); ++split) {
      const float* from = partial + (split * rows + r) * partial_stride(padded);
      merge(max, sum, scratch, from[0], from[1], from + kPartialHeader, padded);
    }
    write_row(args, task.kv_head, task.row_begin + r, sum, scratch);
  }
}
