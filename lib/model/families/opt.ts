// OPT (Zhang et al. 2022, arXiv 2205.01068), both published forms: norms before attention and MLP (OPT-125M and most
// others), or after the residual, with a projected embedding and no final norm (OPT-350M).
import type { NativeModel } from "../../native.js";
import { limits, type ConfigFields, type Family, type TensorSpec } from "../config-fields.js";

/** The position table has two rows in front that no token uses. */
const unusedPositions = 2;
/** config.json does not say it: it is PyTorch's default. */
const normEps = 1e-5;

export const opt: Family = { modelType: "opt", read, tensors, canonicalName };

function read(config: ConfigFields): NativeModel {
  const hidden = config.integer("hidden_size", limits.width);
  const heads = config.integer("num_attention_heads", limits.heads);
  if (hidden % heads !== 0) {
    throw config.refuse("hidden_size", `a multiple of num_attention_heads (${heads})`);
  }
  const preNorm = config.boolean("do_layer_norm_before", true);
  if (!config.boolean("layer_norm_elementwise_affine", true)) {
    throw config.unsupported("layer_norm_elementwise_affine", "norms that have weights (true)");
  }
  return {
    family: "opt",
    layers: config.integer("num_hidden_layers", limits.layers),
    heads,
    kvHeads: heads,
    headDim: headDim(config, hidden / heads),
    hidden,
    ffn: config.integer("ffn_dim", limits.width * 4),
    vocab: config.integer("vocab_size", limits.vocab),
    maxPositions: config.integer("max_position_embeddings", limits.positions),
    embedDim: config.integer("word_embed_proj_dim", limits.width, hidden),
    normEps,
    preNorm,
    finalNorm: preNorm && !config.boolean("_remove_final_layer_norm", false),
    activation: config.word("activation_function", ["relu", "gelu"], "relu"),
    tiedEmbeddings: config.boolean("tie_word_embeddings", true),
    biases: config.boolean("enable_bias", true),
  };
}

function headDim(config: ConfigFields, size: number): number {
  if (size > limits.headDim) {
    throw config.refuse("hidden_size", `at most ${limits.headDim} for each of num_attention_heads`);
  }
  return size;
}

function tensors(model: NativeModel): TensorSpec[] {
  const { hidden, embedDim, vocab, ffn, biases } = model;
  const root = "model.decoder";
  const norm = (name: string): TensorSpec[] => [
    { name: `${name}.weight`, shape: [hidden] },
    { name: `${name}.bias`, shape: [hidden] },
  ];
  const linear = (name: string, outputs: number, inputs: number): TensorSpec[] => [
    { name: `${name}.weight`, shape: [outputs, inputs] },
    ...(biases ? [{ name: `${name}.bias`, shape: [outputs] }] : []),
  ];
  const layer = (at: string): TensorSpec[] => [
    ...norm(`${at}.self_attn_layer_norm`),
    ...["q_proj", "k_proj", "v_proj", "out_proj"].flatMap((part) => linear(`${at}.self_attn.${part}`, hidden, hidden)),
    ...norm(`${at}.final_layer_norm`),
    ...linear(`${at}.fc1`, ffn, hidden),
    ...linear(`${at}.fc2`, hidden, ffn),
  ];
  return [
    { name: `${root}.embed_tokens.weight`, shape: [vocab, embedDim] },
    { name: `${root}.embed_positions.weight`, shape: [model.maxPositions + unusedPositions, hidden] },
    ...(embedDim === hidden
      ? []
      : [
          { name: `${root}.project_in.weight`, shape: [hidden, embedDim] },
          { name: `${root}.project_out.weight`, shape: [embedDim, hidden] },
        ]),
    ...Array.from({ length: model.layers }, (_, i) => layer(`${root}.layers.${i}`)).flat(),
    ...(model.finalNorm ? norm(`${root}.final_layer_norm`) : []),
    ...(model.tiedEmbeddings ? [] : [{ name: "lm_head.weight", shape: [vocab, embedDim] }]),
  ];
}

function canonicalName(name: string, model: NativeModel): string | null {
  const full = name.startsWith("decoder.") ? `model.${name}` : name;
  // Of old checkpoints: a version number. A tied head is a copy of the embedding.
  if (full === "model.decoder.version") return null;
  if (full === "lm_head.weight" && model.tiedEmbeddings) return null;
  return full;
}
