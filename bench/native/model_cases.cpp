// All layers of a decoder of OPT-125M's shapes: what a prefill and a decode step cost in whole.
#include <cmath>

#include "cases.hpp"
#include "paged.hpp"

namespace splitwiser::bench {
namespace {

constexpr std::int64_t kHidden = 768;
constexpr std::int64_t kFfn = 3072;
constexpr int kLayers = 12;
constexpr AttentionSpec kSpec{12, 12, 64, 0.125f};
constexpr int kPageSize = 16;

struct Layer {
  std::unique_ptr<Matrix> qkv, out, up, down;
  std::unique_ptr<Vector> norm1, norm2, qkv_bias, out_bias, up_bias, down_bias;
};

Layer make_layer(Backend& backend, unsigned seed) {
  const float narrow = 1.0f / std::sqrt(float(kHidden));
  const float wide = 1.0f / std::sqrt(float(kFfn));
  const auto matrix = [&](std::int64_t rows, std::int64_t cols, float scale) {
    return random_matrix(backend, rows, cols, DType::f32, seed++, scale);
  };
  const auto vector = [&](std::int64_t size) { return random_vector(backend, size, seed++); };
  return {matrix(3 * kHidden, kHidden, narrow), matrix(kHidden, kHidden, narrow), matrix(kFfn, kHidden, narrow),
          matrix(kHidden, kFfn, wide),          vector(kHidden),                  vector(kHidden),
          vector(3 * kHidden),                  vector(kHidden),                  vector(kFfn),
          vector(kHidden)};
}

class Model {
 public:
  Model(Backend& backend, int layers) {
    for (int i = 0; i < layers; ++i) layers_.push_back(make_layer(backend, unsigned(i) * 16));
  }

  [[nodiscard]] double weight_bytes() const {
    double bytes = 0;
    for (const Layer& layer : layers_) {
      for (const auto* m : {&layer.qkv, &layer.out, &layer.up, &layer.down}) bytes += double((*m)->bytes());
    }
    return bytes;
  }
  [[nodiscard]] int layers() const { return int(layers_.size()); }

  void forward(Ops& ops, const StepInput& in, KvPool& pool, std::vector<float>& stream) {
    const std::int64_t rows = in.rows();
    const auto place = [&](std::vector<float>& buffer, std::int64_t cols) {
      buffer.resize(std::size_t(rows * cols));
      return Tensor{buffer.data(), DType::f32, rows, cols};
    };
    const Tensor x = place(stream, kHidden);
    const Tensor normed = place(normed_, kHidden);
    const Tensor qkv = place(qkv_, 3 * kHidden);
    const Tensor wide = place(wide_, kFfn);
    for (int i = 0; i < layers(); ++i) {
      const Layer& layer = layers_[std::size_t(i)];
      const LayerNorm norm{layer.norm1.get(), layer.norm2.get(), 1e-5f};
      ops.norm_linear(x, norm, normed, *layer.qkv, {.bias = layer.qkv_bias.get()}, qkv);
      ops.write_kv(in, pool, i, kSpec, qkv);
      ops.attention(in, pool, i, kSpec, qkv, normed);
      ops.linear(normed, *layer.out, {.bias = layer.out_bias.get(), .residual = &x}, x);
      ops.norm_linear(x, norm, normed, *layer.up, {.bias = layer.up_bias.get(), .activation = Activation::relu}, wide);
      ops.linear(wide, *layer.down, {.bias = layer.down_bias.get(), .residual = &x}, x);
    }
  }

 private:
  std::vector<Layer> layers_;
  std::vector<float> normed_, qkv_, wide_;
};

// There is no float64 model here: the check is that the last token's state has the same bits when it comes
// after the others in a step of its own (the ops themselves are checked by their own cases).
void check_bits(const Context& context, Model& model, KvPool& pool, int tokens, const std::vector<float>& input,
                const std::vector<float>& whole, Row& row) {
  const PagedStep last(1, tokens, 1, kPageSize);
  std::vector<float> state(input.end() - kHidden, input.end());
  model.forward(context.backend.lane(Phase::prefill).ops(), last.input(), pool, state);
  Check check(0, 0);
  for (std::size_t i = 0; i < std::size_t(kHidden); ++i) check.add(state[i], whole[whole.size() - kHidden + i]);
  check.write(row);
}

}  // namespace

void model_cases(const Context& context, std::vector<Row>& rows) {
  Model model(context.backend, context.quick ? 2 : kLayers);
  const auto prefix = "model of " + std::to_string(model.layers()) + " layers f32 ";
  {
    constexpr int kTokens = 512;
    const PagedStep step(1, kTokens, kTokens, kPageSize);
    const auto pool = context.backend.make_kv_pool({model.layers(), 12, 64, kPageSize, step.pages(), DType::f32});
    const std::vector<float> input = random_values(kTokens * kHidden, 5);
    std::vector<float> stream;
    Row row;
    row.name = prefix + "prefill";
    row.shape = std::to_string(kTokens) + " tokens";
    row.timing = time_steps(context, [&](Ops& ops) {
      stream = input;
      model.forward(ops, step.input(), *pool, stream);
    });
    const double attention = 4.0 * kHidden * kTokens * (kTokens + 1) / 2 * model.layers();
    set_flops(row, context, 2.0 * kTokens * model.weight_bytes() / 4 + attention);
    check_bits(context, model, *pool, kTokens, input, stream, row);
    rows.push_back(row);
  }
  for (const int sequences : {1, 8}) {
    constexpr int kContext = 256;
    const PagedStep step(sequences, kContext, 1, kPageSize);
    const auto pool = context.backend.make_kv_pool({model.layers(), 12, 64, kPageSize, step.pages(), DType::f32});
    const std::vector<float> input = random_values(sequences * kHidden, 5);
    std::vector<float> stream;
    Row row;
    row.name = prefix + "decode";
    row.shape = "batch " + std::to_string(sequences) + ", context " + std::to_string(kContext);
    row.timing = time_steps(context, [&](Ops& ops) {
      stream = input;
      model.forward(ops, step.input(), *pool, stream);
    });
    set_bytes(row, context, model.weight_bytes() + 2.0 * sequences * kContext * kHidden * 4 * model.layers());
    check_bits(context, model, *pool, kContext, std::vector<float>(input.begin(), input.begin() + kHidden),
               std::vector<float>(stream.begin(), stream.begin() + kHidden), row);
    rows.push_back(row);
  }
}

}  // namespace splitwiser::bench
