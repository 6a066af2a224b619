#include "model/decoder.hpp"

#include <cmath>

#include "support/error.hpp"

namespace splitwiser {
namespace {

// Tensors start on cache lines, so that no line is shared by two of them.
constexpr std::size_t kAlignment = 64;

Tensor first_rows(Tensor tensor, std::int64_t rows) {
  tensor.rows = rows;
  return tensor;
}

Tensor first_columns(Tensor tensor, std::int64_t rows, std::int64_t cols) {
  tensor.rows = rows;
  tensor.cols = cols;
  return tensor;
}

}  // namespace

Workspace::Workspace(Backend& backend, const ModelSpec& spec, std::int64_t max_rows, std::int64_t max_logit_rows)
    : max_rows_(max_rows), max_logit_rows_(max_logit_rows) {
  const DType type = backend.activation_dtype();
  std::size_t bytes = 0;
  const auto place = [&](std::int64_t rows, std::int64_t cols, DType dtype) {
    const std::size_t offset = bytes;
    bytes += (std::size_t(rows) * std::size_t(cols) * bytes_of(dtype) + kAlignment - 1) / kAlignment * kAlignment;
    return offset;
  };
  const std::size_t stream = place(max_rows, spec.hidden, type);
  const std::size_t normed = place(max_rows, spec.hidden, type);
  const std::size_t qkv = place(max_rows, spec.qkv_width(), type);
  const std::size_t attended = place(max_rows, spec.attention_width(), type);
  const std::size_t expanded = place(max_rows, spec.ffn, type);
  const std::size_t embedded = place(max_rows, spec.embed_dim, type);
  const std::size_t logits = place(max_logit_rows, spec.vocab, DType::f32);
  buffer_ = backend.allocate(bytes);
  auto* base = static_cast<std::byte*>(buffer_->data());
  stream_ = {base + stream, type, max_rows, spec.hidden};
  normed_ = {base + normed, type, max_rows, spec.hidden};
  qkv_ = {base + qkv, type, max_rows, spec.qkv_width()};
  attended_ = {base + attended, type, max_rows, spec.attention_width()};
  expanded_ = {base + expanded, type, max_rows, spec.ffn};
  embedded_ = {base + embedded, type, max_rows, spec.embed_dim};
  logits_ = {base + logits, DType::f32, max_logit_rows, spec.vocab};
}

Decoder::Decoder(ModelSpec spec, DecoderWeights weights)
    : spec_(spec),
      attention_{spec.heads, spec.kv_heads, spec.head_dim, 1.0f / std::sqrt(float(spec.head_dim))},
      weights_(std::move(weights)) {}

std::optional<Tensor> Decoder::forward(Lane& lane, const StepInput& in, KvPool& pool, Workspace& workspace,
                                       std::span<const std::int32_t> wanted,
                                       const std::function<bool()>& interrupted) const {
  Ops& ops = lane.ops();
  const std::int64_t rows = in.rows();
  if (rows > workspace.max_rows()) throw Error(ErrorCode::internal, "a step has more rows than its workspace");
  Tensor stream = first_rows(workspace.stream_, rows);
  Tensor normed = first_rows(workspace.normed_, rows);
  Tensor attended = first_rows(workspace.attended_, rows);
  const Tensor qkv = first_rows(workspace.qkv_, rows);
  const Tensor embedded = first_rows(workspace.embedded_, rows);
  const auto norm_of = [&](const Norm& norm) { return LayerNorm{norm.weight.get(), norm.bias.get(), spec_.norm_eps}; };

  if (weights_.project_in) {
    ops.embed(in, *weights_.tokens, nullptr, 0, embedded);
    ops.linear(embedded, *weights_.project_in.weight, {.bias = weights_.project_in.bias.get()}, stream);
    if (weights_.positions) ops.add_positions(in, *weights_.positions, weights_.position_offset, stream);
  } else {
    ops.embed(in, *weights_.tokens, weights_.positions.get(), weights_.position_offset, stream);
  }

  for (int i = 0; i < spec_.layers; i++) {
    if (interrupted()) return std::nullopt;
    if (i > 0) lane.yield_point();
    const LayerWeights& layer = weights_.layers[std::size_t(i)];
    const bool last = i + 1 == spec_.layers;
    const Epilogue qkv_end{.bias = layer.qkv.bias.get()};
    if (spec_.pre_norm) {
      ops.norm_linear(stream, norm_of(layer.attention_norm), normed, *layer.qkv.weight, qkv_end, qkv);
    } else {
      ops.linear(stream, *layer.qkv.weight, qkv_end, qkv);
    }
    ops.write_kv(in, pool, i, attention_, qkv);
    // Nobody reads the last layer's output but for the wanted rows.
    if (last && wanted.empty()) break;
    ops.attention(in, pool, i, attention_, qkv, attended);
    if (last && std::int64_t(wanted.size()) < rows) {
      const auto count = std::int64_t(wanted.size());
      const Tensor kept_stream = first_rows(workspace.normed_, count);
      const Tensor kept_attended = first_columns(workspace.qkv_, count, spec_.attention_width());
      ops.gather_rows(stream, wanted, kept_stream);
      ops.gather_rows(attended, wanted, kept_attended);
      normed = first_rows(workspace.stream_, count);
      stream = kept_stream;
      attended = kept_attended;
    }
    ops.linear(attended, *layer.attention_out.weight,
               {.bias = layer.attention_out.bias.get(), .residual = &stream}, stream);
    const Tensor expanded = first_rows(workspace.expanded_, stream.rows);
    const Epilogue up_end{.bias = layer.up.bias.get(), .activation = spec_.activation};
    if (spec_.pre_norm) {
      ops.norm_linear(stream, norm_of(layer.mlp_norm), normed, *layer.up.weight, up_end, expanded);
    } else {
      ops.layer_norm(stream, norm_of(layer.attention_norm), stream);
      ops.linear(stream, *layer.up.weight, up_end, expanded);
    }
    ops.linear(expanded, *layer.down.weight, {.bias = layer.down.bias.get(), .residual = &stream}, stream);
    if (!spec_.pre_norm) ops.layer_norm(stream, norm_of(layer.mlp_norm), stream);
  }
  if (wanted.empty()) return first_rows(stream, 0);
  if (weights_.final_norm) ops.layer_norm(stream, norm_of(weights_.final_norm), stream);
  if (!weights_.project_out) return stream;
  const Tensor projected = first_rows(workspace.embedded_, stream.rows);
  ops.linear(stream, *weights_.project_out.weight, {.bias = weights_.project_out.bias.get()}, projected);
  return projected;
}

Tensor Decoder::logits(Lane& lane, Tensor states, std::int64_t first, std::int64_t count, Workspace& workspace) const {
  auto* data = static_cast<std::byte*>(states.data) + std::size_t(first * states.cols) * bytes_of(states.dtype);
  const Tensor out = first_rows(workspace.logits_, count);
  lane.ops().linear({data, states.dtype, count, states.cols}, weights_.output(), {}, out);
  return out;
}

}  // namespace splitwiser
