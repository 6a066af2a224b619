#include "fake_model.hpp"

#include <algorithm>

#include "fake_backend.hpp"

namespace splitwiser::fake {
namespace {

enum Weight : std::uint64_t { tokens = 1, positions, project_in, project_out, final_norm, layers = 100 };
enum LayerWeight : std::uint64_t { attention_norm, qkv, attention_out, mlp_norm, up, down, kinds };

[[nodiscard]] std::uint64_t layer_id(int layer, LayerWeight weight) { return (layers + std::uint64_t(layer) * kinds + weight) * 2; }
// A bias, or a norm's second vector, has the next number.
[[nodiscard]] std::uint64_t norm_ids(std::uint64_t id) { return mix(id, id + 1); }
[[nodiscard]] std::uint64_t with_bias(std::uint64_t x, std::uint64_t id) { return mix(mix(x, id), id + 1); }

[[nodiscard]] Norm make_norm(std::uint64_t id, std::int64_t size) {
  return {std::make_unique<FakeVector>(id, size), std::make_unique<FakeVector>(id + 1, size)};
}

[[nodiscard]] Linear make_linear(std::uint64_t id, std::int64_t rows, std::int64_t cols) {
  return {std::make_unique<FakeMatrix>(id, rows, cols), std::make_unique<FakeVector>(id + 1, rows)};
}

constexpr int kPositionOffset = 2;

}  // namespace

ModelSpec make_spec(Form form) {
  ModelSpec spec;
  spec.layers = 3;
  spec.heads = 2;
  spec.kv_heads = 2;
  spec.head_dim = 4;
  spec.hidden = 8;
  spec.ffn = 16;
  spec.vocab = 61;
  spec.max_positions = 1024;
  spec.embed_dim = form == Form::norms_first ? 8 : 6;
  spec.pre_norm = form == Form::norms_first;
  spec.final_norm = form == Form::norms_first;
  return spec;
}

DecoderWeights make_weights(const ModelSpec& spec) {
  DecoderWeights weights;
  weights.tokens = std::make_unique<FakeMatrix>(tokens, spec.vocab, spec.embed_dim, true);
  weights.positions = std::make_unique<FakeMatrix>(positions, spec.max_positions + kPositionOffset, spec.hidden);
  weights.position_offset = kPositionOffset;
  if (spec.embed_dim != spec.hidden) {
    weights.project_in.weight = std::make_unique<FakeMatrix>(project_in, spec.hidden, spec.embed_dim);
    weights.project_out.weight = std::make_unique<FakeMatrix>(project_out, spec.embed_dim, spec.hidden);
  }
  for (int i = 0; i < spec.layers; i++) {
    LayerWeights layer;
    layer.attention_norm = make_norm(layer_id(i, attention_norm), spec.hidden);
    layer.qkv = make_linear(layer_id(i, qkv), spec.qkv_width(), spec.hidden);
    layer.attention_out = make_linear(layer_id(i, attention_out), spec.hidden, spec.attention_width());
    layer.mlp_norm = make_norm(layer_id(i, mlp_norm), spec.hidden);
    layer.up = make_linear(layer_id(i, up), spec.ffn, spec.hidden);
    layer.down = make_linear(layer_id(i, down), spec.hidden, spec.ffn);
    weights.layers.push_back(std::move(layer));
  }
  if (spec.final_norm) weights.final_norm = make_norm(final_norm, spec.hidden);
  weights.parameters = 1;
  weights.bytes = 4;
  return weights;
}

void Reference::append(std::int32_t token) {
  const bool projected = spec_.embed_dim != spec_.hidden;
  const auto place = mix(positions, length() + kPositionOffset);
  std::uint64_t stream = mix(tokens, std::uint64_t(token));
  if (projected) stream = mix(stream, project_in);
  stream = mix(stream, place);
  for (int i = 0; i < spec_.layers; i++) {
    auto& cache = cache_[std::size_t(i)];
    const auto id = [i](LayerWeight weight) { return layer_id(i, weight); };
    std::uint64_t input = spec_.pre_norm ? mix(stream, norm_ids(id(attention_norm))) : stream;
    const std::uint64_t projection = with_bias(input, id(qkv));
    cache.push_back(mix(projection, std::uint64_t(i)));
    std::uint64_t attended = mix(projection, std::uint64_t(i) + 1000);
    for (const std::uint64_t kv : cache) attended = mix(attended, kv);
    stream = mix(with_bias(attended, id(attention_out)), stream);
    if (!spec_.pre_norm) stream = mix(stream, norm_ids(id(attention_norm)));
    input = spec_.pre_norm ? mix(stream, norm_ids(id(mlp_norm))) : stream;
    const std::uint64_t expanded = mix(with_bias(input, id(up)), std::uint64_t(spec_.activation));
    stream = mix(with_bias(expanded, id(down)), stream);
    if (!spec_.pre_norm) stream = mix(stream, norm_ids(id(mlp_norm)));
  }
  if (spec_.final_norm) stream = mix(stream, norm_ids(final_norm));
  if (projected) stream = mix(stream, project_out);
  state_ = mix(stream, tokens);  // tied: the head is the embedding
}

std::vector<float> Reference::logits() const {
  std::vector<float> out(std::size_t(spec_.vocab));
  for (std::size_t v = 0; v < out.size(); v++) out[v] = logit_of(state_, std::int64_t(v));
  return out;
}

std::vector<float> reference_logits(const ModelSpec& spec, const std::vector<std::int32_t>& tokens) {
  Reference reference(spec);
  for (const std::int32_t token : tokens) reference.append(token);
  return reference.logits();
}

std::vector<std::int32_t> reference_tokens(const ModelSpec& spec, const std::vector<std::int32_t>& past,
                                           const GenerateSpec& generate, std::uint32_t choice) {
  Reference reference(spec);
  std::vector<TokenCount> counts(std::size_t(spec.vocab));
  for (std::size_t v = 0; v < counts.size(); v++) counts[v] = {std::int32_t(v), 0, 0};
  for (const std::int32_t token : past) {
    reference.append(token);
    counts[std::size_t(token)].in_prompt = 1;
  }
  std::vector<std::int32_t> ending = generate.end_token_ids;
  ending.insert(ending.end(), generate.stop_token_ids.begin(), generate.stop_token_ids.end());
  std::vector<std::int32_t> out;
  SampleScratch scratch;
  while (std::int64_t(out.size()) < generate.max_tokens) {
    std::vector<float> logits = reference.logits();
    const bool may_end = std::int64_t(out.size()) >= generate.min_tokens;
    const std::int32_t token = sample_row(logits, generate.sampling, counts, generate.bias, may_end ? std::vector<std::int32_t>{} : ending,
                                          generate.seed, choice, std::uint32_t(reference.length()), scratch);
    out.push_back(token);
    counts[std::size_t(token)].generated++;
    if (std::ranges::find(ending, token) != ending.end()) break;
    reference.append(token);
  }
  return out;
}

std::vector<std::int32_t> make_prompt(const ModelSpec& spec, std::size_t length, std::uint64_t seed) {
  std::vector<std::int32_t> out(length);
  for (std::size_t i = 0; i < length; i++) out[i] = std::int32_t(mix(seed, i) % std::uint64_t(spec.vocab));
  return out;
}

}  // namespace splitwiser::fake
