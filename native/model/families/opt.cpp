// OPT (Zhang et al. 2022, arXiv 2205.01068), both published forms: norms before attention and MLP with a final
// norm (OPT-125M and most others), or norms after the residual and a projected embedding (OPT-350M).
#include "model/families/families.hpp"

namespace splitwiser {

void load_opt(const ModelSpec& spec, Loader& loader, DecoderWeights& weights) {
  const std::string root = "model.decoder.";
  // The position table has two rows in front that no token uses.
  weights.position_offset = 2;
  weights.tokens = loader.matrix(root + "embed_tokens.weight", spec.vocab, spec.embed_dim);
  weights.positions = loader.matrix(root + "embed_positions.weight", spec.max_positions + weights.position_offset, spec.hidden);
  if (spec.embed_dim != spec.hidden) {
    weights.project_in.weight = loader.matrix(root + "project_in.weight", spec.hidden, spec.embed_dim);
    weights.project_out.weight = loader.matrix(root + "project_out.weight", spec.embed_dim, spec.hidden);
  }
  const auto linear = [&](const std::string& name, std::int64_t rows, std::int64_t cols) {
    return Linear{loader.matrix(name + ".weight", rows, cols), spec.biases ? loader.vector({name + ".bias"}, rows) : nullptr};
  };
  for (int i = 0; i < spec.layers; i++) {
    const std::string layer = root + "layers." + std::to_string(i) + ".";
    const std::string attention = layer + "self_attn.";
    LayerWeights out;
    out.attention_norm = loader.norm(layer + "self_attn_layer_norm", spec.hidden);
    out.qkv.weight = loader.stacked({attention + "q_proj.weight", attention + "k_proj.weight", attention + "v_proj.weight"},
                                    spec.attention_width(), spec.hidden);
    if (spec.biases) {
      out.qkv.bias = loader.vector({attention + "q_proj.bias", attention + "k_proj.bias", attention + "v_proj.bias"},
                                   spec.attention_width());
    }
    out.attention_out = linear(attention + "out_proj", spec.hidden, spec.attention_width());
    out.mlp_norm = loader.norm(layer + "final_layer_norm", spec.hidden);
    out.up = linear(layer + "fc1", spec.ffn, spec.hidden);
    out.down = linear(layer + "fc2", spec.hidden, spec.ffn);
    weights.layers.push_back(std::move(out));
  }
  if (spec.final_norm) weights.final_norm = loader.norm(root + "final_layer_norm", spec.hidden);
  if (!spec.tied_embeddings) weights.head = loader.matrix("lm_head.weight", spec.vocab, spec.embed_dim);
}

}  // namespace splitwiser
