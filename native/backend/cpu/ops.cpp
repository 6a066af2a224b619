#include "backend/cpu/ops.hpp"

#include <algorithm>
#include <cstring>

#include "support/half.hpp"
#include "support/error.hpp"

namespace splitwiser::cpu {
namespace {

// Elements that one chunk of a copying op moves at least; less is not worth another thread.
constexpr std::int64_t kChunkElements = 8192;

const CpuMatrix& matrix(const Matrix& m) { return static_cast<const CpuMatrix&>(m); }
const float* values(const Vector& v) { return static_cast<const CpuVector&>(v).data(); }
float* row(Tensor tensor, std::int64_t index) { return static_cast<float*>(tensor.data) + index * tensor.cols; }
std::span<float> row_span(Tensor tensor, std::int64_t index) {
  return {row(tensor, index), std::size_t(tensor.cols)};
}

void check_shape(bool fits, const char* op) {
  if (!fits) throw Error(ErrorCode::internal, std::string(op) + ": the shapes of its tensors do not fit together");
}

// Calls body(row) for all rows, several to a chunk where rows are short.
template <typename Body>
void for_rows(Team& team, Phase phase, std::int64_t rows, std::int64_t elements, const Body& body) {
  const std::int64_t per_chunk = std::max<std::int64_t>(1, kChunkElements / std::max<std::int64_t>(1, elements));
  team.parallel(phase, ceil_div(rows, per_chunk), [&](std::int64_t chunk, float*) {
    const std::int64_t end = std::min(rows, (chunk + 1) * per_chunk);
    for (std::int64_t r = chunk * per_chunk; r < end; ++r) body(r);
  });
}

template <typename T>
void write_row_kv(const CpuKernels& kernels, const KvLayer& kv, std::int64_t page, std::int64_t column, int kv_heads,
                  const float* k, const float* v) {
  T keys[kMaxHeadDim];
  for (int head = 0; head < kv_heads; ++head, k += kv.head_dim, v += kv.head_dim) {
    kernels.narrow(k, kv.head_dim, kDTypeOf<T>, reinterpret_cast<std::byte*>(keys));
    T* to = reinterpret_cast<T*>(kv.keys(page, head)) + column;
    for (int d = 0; d < kv.head_dim; ++d) to[std::int64_t(d) * kv.page_size] = keys[d];
    T* value = reinterpret_cast<T*>(kv.values(page, head)) + column * kv.padded_dim;
    kernels.narrow(v, kv.head_dim, kDTypeOf<T>, reinterpret_cast<std::byte*>(value));
  }
}

template <typename T>
void copy_head(const KvLayer& kv, const PageCopy& copy, int head) {
  const auto tokens = std::size_t(copy.tokens);
  const T* keys = reinterpret_cast<const T*>(kv.keys(copy.from, head));
  T* to = reinterpret_cast<T*>(kv.keys(copy.to, head));
  for (int d = 0; d < kv.head_dim; ++d, keys += kv.page_size, to += kv.page_size) {
    std::memcpy(to, keys, tokens * sizeof(T));
  }
  std::memcpy(kv.values(copy.to, head), kv.values(copy.from, head), tokens * std::size_t(kv.padded_dim) * sizeof(T));
}

}  // namespace

void CpuOps::embed(const StepInput& in, const Matrix& tokens, const Matrix* positions, int position_offset,
                   Tensor out) {
  check_shape(in.rows() <= out.rows && tokens.cols() == out.cols, "embed");
  for_rows(team_, phase_, in.rows(), out.cols, [&](std::int64_t r) {
    const auto i = std::size_t(r);
    matrix(tokens).read_row(in.token_ids[i], false, row_span(out, r));
    if (positions != nullptr) matrix(*positions).read_row(in.positions[i] + position_offset, true, row_span(out, r));
  });
}

void CpuOps::add_positions(const StepInput& in, const Matrix& positions, int position_offset, Tensor out) {
  check_shape(in.rows() <= out.rows && positions.cols() == out.cols, "add_positions");
  for_rows(team_, phase_, in.rows(), out.cols, [&](std::int64_t r) {
    matrix(positions).read_row(in.positions[std::size_t(r)] + position_offset, true, row_span(out, r));
  });
}

void CpuOps::layer_norm(Tensor x, const LayerNorm& norm, Tensor out) {
  check_shape(x.cols == out.cols && x.rows <= out.rows && norm.weight->size() == x.cols && norm.bias->size() == x.cols,
              "layer_norm");
  for_rows(team_, phase_, x.rows, x.cols, [&](std::int64_t r) {
    kernels_.layer_norm(row(x, r), values(*norm.weight), values(*norm.bias), norm.eps, x.cols, row(out, r));
  });
}

void CpuOps::write_kv(const StepInput& in, KvPool& pool, int layer, const AttentionSpec& spec, Tensor qkv) {
  const std::int64_t width = std::int64_t(spec.kv_heads) * spec.head_dim;
  const std::int64_t q_width = std::int64_t(spec.heads) * spec.head_dim;
  check_shape(in.rows() <= qkv.rows && qkv.cols == q_width + 2 * width, "write_kv");
  const KvLayer kv = static_cast<CpuKvPool&>(pool).layer(layer);
  for_rows(team_, phase_, in.rows(), 4 * width, [&](std::int64_t r) {
    const auto after = std::upper_bound(in.row_indptr.begin(), in.row_indptr.end(), std::int32_t(r));
    const auto segment = std::size_t(after - in.row_indptr.begin() - 1);
    const std::int64_t position = in.positions[std::size_t(r)];
    const auto entry = std::size_t(in.page_indptr[segment] + position / kv.page_size);
    const float* k = row(qkv, r) + q_width;
    with_type(kv.dtype, [&](auto type) {
      write_row_kv<decltype(type)>(kernels_, kv, in.page_indices[entry], position % kv.page_size, spec.kv_heads, k,
                                   k + width);
    });
  });
}

void CpuOps::gather_rows(Tensor x, std::span<const std::int32_t> rows, Tensor out) {
  check_shape(x.cols == out.cols && std::int64_t(rows.size()) <= out.rows, "gather_rows");
  for_rows(team_, phase_, std::int64_t(rows.size()), x.cols, [&](std::int64_t r) {
    std::memcpy(row(out, r), row(x, rows[std::size_t(r)]), std::size_t(x.cols) * sizeof(float));
  });
}

void CpuOps::copy_pages(KvPool& pool, std::span<const PageCopy> copies) {
  const auto& cpu_pool = static_cast<const CpuKvPool&>(pool);
  const KvShape& shape = cpu_pool.shape();
  team_.parallel(phase_, shape.layers, [&](std::int64_t layer, float*) {
    const KvLayer kv = cpu_pool.layer(int(layer));
    for (const PageCopy& copy : copies) {
      for (int head = 0; head < shape.kv_heads; ++head) {
        with_type(kv.dtype, [&](auto type) { copy_head<decltype(type)>(kv, copy, head); });
      }
    }
  });
}

void CpuOps::sample(Tensor logits, std::span<const SampleRow> rows, std::span<SampleResult> results) {
  check_shape(rows.size() <= results.size(), "sample");
  // As many chunks as threads, each with working memory of its own.
  const std::size_t chunks = std::min(rows.size(), std::size_t(team_.threads()));
  if (sample_scratch_.size() < chunks) sample_scratch_.resize(chunks);
  team_.parallel(phase_, std::int64_t(chunks), [&](std::int64_t chunk, float*) {
    SampleScratch& scratch = sample_scratch_[std::size_t(chunk)];
    for (auto i = std::size_t(chunk); i < rows.size(); i += chunks) {
      const SampleRow& wanted = rows[i];
      SampleResult& result = results[i];
      const std::span<float> row_logits = row_span(logits, wanted.row);
      // Log-probabilities are the model's own: sample_row leaves the logits as they were.
      result.token = wanted.sample
                         ? sample_row(row_logits, wanted.params, wanted.counts, wanted.bias, wanted.forbidden(),
                                      wanted.seed, wanted.choice, wanted.position, scratch)
                         : wanted.target;
      result.ending = ending_of(wanted, result.token);
      result.logprob = 0;
      result.top.clear();
      if (wanted.top_logprobs < 0 || result.token < 0 || result.token >= logits.cols) continue;
      const LogNormalizer normalizer = log_normalizer(row_logits);
      result.logprob = log_softmax_at(row_logits, result.token, normalizer);
      top_logprobs(row_logits, std::size_t(wanted.top_logprobs), normalizer, result.top);
    }
  });
}

void CpuOps::read(Tensor from, std::span<std::byte> to) {
  const std::size_t bytes = std::size_t(from.rows) * std::size_t(from.cols) * bytes_of(from.dtype);
  check_shape(bytes <= to.size(), "read");
  std::memcpy(to.data(), from.data, bytes);
}

}  // namespace splitwiser::cpu
