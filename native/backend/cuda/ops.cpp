#include "backend/cuda/ops.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "backend/cuda/graph_arrays.hpp"
#include "pages.hpp"
#include "rows.hpp"
#include "step.hpp"

namespace splitwiser::cuda {
namespace {

const CudaMatrix& matrix(const Matrix& m) { return static_cast<const CudaMatrix&>(m); }
const float* values(const Vector& v) { return static_cast<const CudaVector&>(v).data(); }

void check_shape(bool fits, const char* op) {
  if (!fits) throw Error(ErrorCode::internal, std::string(op) + ": the shapes of its tensors do not fit together");
}

void check_norm(Tensor x, const LayerNorm& norm) {
  check_shape(norm.weight->size() == x.cols && norm.bias->size() == x.cols, "norm");
}

}  // namespace

void CudaOps::begin_step() {
  lane_.collect(false);
  sent_.reset();
  sent_tiles_.reset();
}

double CudaOps::take_cost() { return std::exchange(cost_, 0); }

const StepArrays& CudaOps::arrays(const StepInput& in) {
  if (sent_ && sent_ids_ == in.token_ids.data() && sent_rows_ == in.token_ids.size()) return *sent_;
  sent_tiles_.reset();
  sent_ = send_step(lane_, in, prompts_);
  // Tiles as the step before had them: sent later, between a layer's launches, they would end the group.
  if (sent_->rounded && tile_rows_ > 0) sent_tiles_ = send_tiles(lane_, in, *sent_, tile_rows_);
  lane_.collect(sent_->rounded);
  sent_ids_ = in.token_ids.data();
  sent_rows_ = in.token_ids.size();
  if (drawn_.tokens != nullptr) {
    const StepView& view = sent_->view;
    // Of the lane's own staging.
    auto* ids = const_cast<std::int32_t*>(view.token_ids);
    auto* lengths = const_cast<std::int32_t*>(view.kv_lengths);
    const StepFeedParams params{ids, drawn_.tokens, lengths, ids, lengths, drawn_.ended, view.counts, view.rows};
    lane_.launch(plan_step_feed(params, lane_.shape()), params);
  }
  return *sent_;
}

const TileList& CudaOps::tiles(const StepInput& in, int rows_per_tile) {
  if (!sent_tiles_ || tile_rows_ != rows_per_tile) {
    sent_tiles_ = send_tiles(lane_, in, *sent_, rows_per_tile);
    tile_rows_ = rows_per_tile;
  }
  return *sent_tiles_;
}

CudaOps::Rows CudaOps::rows_of(Tensor x) const {
  if (graph_ != nullptr) return {x.rows, graph_->view.counts};
  // Other tensors have rows that were chosen of the step's.
  if (sent_ && sent_->rounded && x.rows == std::int64_t(sent_rows_)) return {sent_->view.rows, sent_->view.counts};
  return {x.rows, nullptr};
}

void CudaOps::embed(const StepInput& in, const Matrix& tokens, const Matrix* positions, int position_offset, Tensor out) {
  check_shape(in.rows() <= out.rows && tokens.cols() == out.cols && tokens.dtype() == out.dtype &&
                  (positions == nullptr || (positions->cols() == out.cols && positions->dtype() == out.dtype)),
              "embed");
  EmbedParams params{};
  params.step = graph_ != nullptr ? graph_->view : arrays(in).view;
  params.tokens = matrix(tokens).data();
  params.token_stride = matrix(tokens).stride();
  if (positions != nullptr) {
    params.positions = matrix(*positions).data();
    params.position_stride = matrix(*positions).stride();
  }
  params.out = out.data;
  params.cols = out.cols;
  params.position_offset = position_offset;
  params.dtype = out.dtype;
  lane_.launch(plan_embed(params, lane_.shape()), params);
}

void CudaOps::add_positions(const StepInput& in, const Matrix& positions, int position_offset, Tensor out) {
  check_shape(in.rows() <= out.rows && positions.cols() == out.cols && positions.dtype() == out.dtype, "add_positions");
  EmbedParams params{};
  params.step = graph_ != nullptr ? graph_->view : arrays(in).view;
  params.positions = matrix(positions).data();
  params.position_stride = matrix(positions).stride();
  params.out = out.data;
  params.cols = out.cols;
  params.position_offset = position_offset;
  params.dtype = out.dtype;
  lane_.launch(plan_embed(params, lane_.shape()), params);
}

GemmParams CudaOps::gemm(Tensor x, const Matrix& w, const Epilogue& epilogue, Tensor out) const {
  check_shape(x.cols == w.cols() && out.cols == w.rows() && x.rows <= out.rows && x.dtype == w.dtype() &&
                  (epilogue.bias == nullptr || epilogue.bias->size() == w.rows()) &&
                  (epilogue.residual == nullptr ||
                   (epilogue.residual->cols == out.cols && epilogue.residual->rows >= x.rows &&
                    epilogue.residual->dtype == out.dtype)),
              "linear");
  GemmParams params{};
  params.weight = matrix(w).data();
  params.x = x.data;
  params.out = out.data;
  params.bias = epilogue.bias != nullptr ? values(*epilogue.bias) : nullptr;
  params.residual = epilogue.residual != nullptr ? epilogue.residual->data : nullptr;
  const Rows rows = rows_of(x);
  params.rows = rows.real;
  params.m = w.rows();
  params.n = rows.most;
  params.k = w.cols();
  params.k_stride = matrix(w).stride();
  params.dtype = w.dtype();
  params.out_dtype = out.dtype;
  params.activation = epilogue.activation;
  return params;
}

void CudaOps::launch_gemm(GemmParams& params, const Matrix& w) {
  const LaunchPlan plan = plan_gemm(params, lane_.shape());
  lane_.launch(plan, params);
  cost_ += costs_.seconds(double(params.n) * double(params.m) * double(params.k), double(w.bytes()), w.dtype(),
                          lane_.shape().sms);
}

void CudaOps::linear(Tensor x, const Matrix& w, const Epilogue& epilogue, Tensor out) {
  GemmParams params = gemm(x, w, epilogue, out);
  launch_gemm(params, w);
}

void CudaOps::norm_linear(Tensor x, const LayerNorm& norm, Tensor normed, const Matrix& w, const Epilogue& epilogue,
                          Tensor out) {
  GemmParams params = gemm(x, w, epilogue, out);
  params.norm.weight = values(*norm.weight);
  params.norm.bias = values(*norm.bias);
  params.norm.eps = norm.eps;
  if (!gemm_normalizes(params, lane_.shape())) return Ops::norm_linear(x, norm, normed, w, epilogue, out);
  check_norm(x, norm);
  launch_gemm(params, w);
}

void CudaOps::layer_norm(Tensor x, const LayerNorm& norm, Tensor out) {
  check_norm(x, norm);
  check_shape(x.cols == out.cols && x.rows <= out.rows && x.dtype == out.dtype, "layer_norm");
  NormParams params{};
  params.x = x.data;
  params.out = out.data;
  params.weight = values(*norm.weight);
  params.bias = values(*norm.bias);
  const Rows rows = rows_of(x);
  params.real_rows = rows.real;
  params.rows = rows.most;
  params.cols = x.cols;
  params.eps = norm.eps;
  params.dtype = x.dtype;
  lane_.launch(plan_norm(params, lane_.shape()), params);
}

void CudaOps::write_kv(const StepInput& in, KvPool& pool, int layer, const AttentionSpec& spec, Tensor qkv) {
  const std::int64_t width = std::int64_t(spec.heads + 2 * spec.kv_heads) * spec.head_dim;
  const KvShape& shape = pool.shape();
  check_shape(in.rows() <= qkv.rows && qkv.cols == width && spec.head_dim == shape.head_dim &&
                  spec.kv_heads == shape.kv_heads && layer < shape.layers,
              "write_kv");
  KvWriteParams params{};
  params.step = graph_ != nullptr ? graph_->view : arrays(in).view;
  params.kv = static_cast<const CudaKvPool&>(pool).layer(layer);
  params.qkv = qkv.data;
  params.qkv_cols = qkv.cols;
  params.dtype = qkv.dtype;
  params.heads = spec.heads;
  params.kv_heads = spec.kv_heads;
  params.head_dim = spec.head_dim;
  params.rotary = RotaryForm::none;
  lane_.launch(plan_kv_write(params, lane_.shape()), params);
}

void CudaOps::attention(const StepInput& in, const KvPool& pool, int layer, const AttentionSpec& spec, Tensor qkv,
                        Tensor out) {
  const KvShape& shape = pool.shape();
  check_shape(in.rows() <= qkv.rows && in.rows() <= out.rows && qkv.dtype == out.dtype &&
                  qkv.cols == std::int64_t(spec.heads + 2 * spec.kv_heads) * spec.head_dim &&
                  out.cols == std::int64_t(spec.heads) * spec.head_dim && spec.head_dim == shape.head_dim &&
                  spec.kv_heads == shape.kv_heads && layer < shape.layers,
              "attention");
  AttentionParams params{};
  params.kv = static_cast<const CudaKvPool&>(pool).layer(layer);
  params.qkv = qkv.data;
  params.out = out.data;
  params.qkv_cols = qkv.cols;
  params.dtype = qkv.dtype;
  params.heads = spec.heads;
  params.kv_heads = spec.kv_heads;
  params.head_dim = spec.head_dim;
  params.scale = spec.scale;
  if (graph_ != nullptr) {
    params.step = graph_->view;
    params.max_kv_length = graph_->max_kv_length;
  } else {
    const StepArrays& sent = arrays(in);
    params.step = sent.view;
    params.max_kv_length = sent.max_decode_length;
    const double per_pair = 2.0 * double(spec.heads) * double(spec.head_dim);
    cost_ += costs_.seconds(per_pair * (sent.prefill_pairs + sent.decode_keys), 0, shape.dtype, lane_.shape().sms);
  }
  if (params.max_kv_length > 0) {
    params.partials = reinterpret_cast<float*>(lane_.partials(std::size_t(decode_partial_floats(params)) * sizeof(float)));
    params.arrivals =
        reinterpret_cast<std::uint32_t*>(lane_.arrivals(std::size_t(decode_arrivals(params)) * sizeof(std::uint32_t)));
    lane_.launch(plan_attention_decode(params, lane_.shape()), params);
  }
  if (graph_ != nullptr || sent_->prefill_rows == 0) return;
  const TileList& list = tiles(in, prefill_tile_rows(spec.heads, spec.kv_heads, spec.head_dim, shape.dtype));
  params.tiles = list.tiles;
  params.tile_count = list.count;
  lane_.launch(plan_attention_prefill(params, lane_.shape()), params);
}

void CudaOps::gather_rows(Tensor x, std::span<const std::int32_t> rows, Tensor out) {
  check_shape(x.cols == out.cols && x.dtype == out.dtype && std::int64_t(rows.size()) <= out.rows, "gather_rows");
  if (rows.empty()) return;
  GatherParams params{};
  params.x = x.data;
  params.out = out.data;
  params.count = std::int64_t(rows.size());
  params.cols = x.cols;
  params.dtype = x.dtype;
  if (graph_ != nullptr) {
    params.rows = graph_->identity;
    params.real_count = graph_->view.counts;
  } else {
    const Staging::Block block = lane_.staging().take(rows.size_bytes());
    std::memcpy(block.host, rows.data(), rows.size_bytes());
    lane_.send(block);
    params.rows = reinterpret_cast<const std::int32_t*>(block.device);
  }
  lane_.launch(plan_gather(params, lane_.shape()), params);
}

void CudaOps::copy_pages(KvPool& pool, std::span<const PageCopy> copies) {
  if (copies.empty()) return;
  const auto& kv = static_cast<const CudaKvPool&>(pool);
  const Staging::Block block = lane_.staging().take(copies.size() * sizeof(PageCopyItem));
  auto* items = reinterpret_cast<PageCopyItem*>(block.host);
  for (const PageCopy& copy : copies) *items++ = {copy.from, copy.to, copy.tokens};
  lane_.send(block);
  PageCopyParams params{};
  params.from = params.to = {kv.data(), kv.layer_bytes(), kv.page_bytes(), kv.head_bytes()};
  params.items = reinterpret_cast<const PageCopyItem*>(block.device);
  params.row_bytes = kv.row_bytes();
  params.count = std::int32_t(copies.size());
  params.layers = kv.shape().layers;
  params.heads = 2 * kv.shape().kv_heads;
  lane_.launch(plan_page_copy(params, lane_.shape()), params);
}

void CudaOps::read(Tensor from, std::span<std::byte> to) {
  const std::size_t bytes = std::size_t(from.rows) * std::size_t(from.cols) * bytes_of(from.dtype);
  check_shape(bytes <= to.size() && graph_ == nullptr, "read");
  if (bytes == 0) return;
  std::byte* room = lane_.read_room(bytes);
  lane_.copy_out(room, from.data, bytes);
  lane_.when_done([room, to, bytes] { std::memcpy(to.data(), room, bytes); });
}

}  // namespace splitwiser::cuda
