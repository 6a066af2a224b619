// OPT models made by a formula: of any size, or such that the tokens they write are known beforehand.

import { cpSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import type { Test } from "tap";

import type { RawTensor } from "../reference/safetensors.js";

import { encodeTensor, temporaryFolder, writeSafetensors, type StorageType } from "./model-folder.js";
import { makeRandom } from "./random.js";

export interface SyntheticSpec {
  layers: number;
  hidden: number;
  heads: number;
  ffn: number;
  vocab: number;
  positions: number;
  storage: StorageType;
  seed: number;
}

type Fill = (name: string, index: number) => number;

function tensorShapes(spec: SyntheticSpec): [string, number[]][] {
  const { hidden, ffn } = spec;
  const shapes: [string, number[]][] = [
    ["embed_tokens.weight", [spec.vocab, hidden]],
    ["embed_positions.weight", [spec.positions + 2, hidden]],
    ["final_layer_norm.weight", [hidden]],
    ["final_layer_norm.bias", [hidden]],
  ];
  for (let layer = 0; layer < spec.layers; ++layer) {
    for (const name of ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj"]) {
      shapes.push([`layers.${layer}.${name}.weight`, [hidden, hidden]], [`layers.${layer}.${name}.bias`, [hidden]]);
    }
    for (const name of ["self_attn_layer_norm", "final_layer_norm"]) {
      shapes.push([`layers.${layer}.${name}.weight`, [hidden]], [`layers.${layer}.${name}.bias`, [hidden]]);
    }
    shapes.push([`layers.${layer}.fc1.weight`, [ffn, hidden]], [`layers.${layer}.fc1.bias`, [ffn]]);
    shapes.push([`layers.${layer}.fc2.weight`, [hidden, ffn]], [`layers.${layer}.fc2.bias`, [hidden]]);
  }
  return shapes;
}

function writeModel(folder: string, spec: SyntheticSpec, fill: Fill): void {
  const tensors = new Map<string, RawTensor>();
  for (const [name, shape] of tensorShapes(spec)) {
    const size = shape.reduce((product, extent) => product * extent, 1);
    const values = Float32Array.from({ length: size }, (_, index) => fill(name, index));
    tensors.set(`model.decoder.${name}`, encodeTensor(values, shape, spec.storage));
  }
  writeSafetensors(join(folder, "model.safetensors"), tensors);
  const config = {
    model_type: "opt",
    architectures: ["OPTForCausalLM"],
    activation_function: "relu",
    bos_token_id: 2,
    eos_token_id: 2,
    pad_token_id: 1,
    do_layer_norm_before: true,
    _remove_final_layer_norm: false,
    enable_bias: true,
    layer_norm_elementwise_affine: true,
    tie_word_embeddings: true,
    ffn_dim: spec.ffn,
    hidden_size: spec.hidden,
    word_embed_proj_dim: spec.hidden,
    max_position_embeddings: spec.positions,
    num_attention_heads: spec.heads,
    num_hidden_layers: spec.layers,
    vocab_size: spec.vocab,
    torch_dtype: { f32: "float32", f16: "float16", bf16: "bfloat16" }[spec.storage],
  };
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
  writeFileSync(join(folder, "generation_config.json"), JSON.stringify({ bos_token_id: 2, eos_token_id: 2 }));
}

const isNormWeight = (name: string): boolean => /layer_norm\.weight$/.test(name);

/** A model with random weights, without a tokenizer. */
export function randomModel(t: Test, spec: Partial<SyntheticSpec> = {}): string {
  const full: SyntheticSpec = {
    layers: 2,
    hidden: 128,
    heads: 2,
    ffn: 256,
    vocab: 400,
    positions: 2048,
    storage: "f32",
    seed: 1,
    ...spec,
  };
  const folder = temporaryFolder(t);
  const random = makeRandom(full.seed);
  const scale = 1.5 / Math.sqrt(full.hidden);
  writeModel(folder, full, (name) => (isNormWeight(name) ? 1 : 0) + scale * random.normal());
  return folder;
}

export interface Script {
  /** Where the script's model lies. */
  folder: string;
  vocab: number;
  /** A prompt after which the model writes exactly these tokens, whatever the prompt's ids are. */
  prompts: number[][];
}

/**
 * A model that writes given tokens. Attention and MLP are zero; the embedding of position p is a large multiple of the
 * embedding of the token that shall come next, so it wins by far. Script k begins after a prompt whose last position is its place.
 */
export function scriptedModel(
  t: Test,
  options: { scripts: number[][]; vocab: number; tokenizerFrom?: string; positions?: number },
): Script {
  const { scripts, vocab } = options;
  const hidden = 128;
  const needed = scripts.reduce((total, script) => total + script.length + 1, 1);
  const positions = Math.max(options.positions ?? 0, needed + 8);
  const random = makeRandom(7);
  const embeddings = Float32Array.from({ length: vocab * hidden }, () => random.normal() / 2);

  const target = new Map<number, number>();
  const prompts: number[][] = [];
  let place = 0;
  for (const script of scripts) {
    prompts.push(Array.from({ length: place + 1 }, (_, i) => 4 + (i % 16)));
    script.forEach((token, i) => target.set(place + i, token));
    place += script.length + 1;
  }
  const spec: SyntheticSpec = {
    layers: 1,
    hidden,
    heads: 2,
    ffn: 128,
    vocab,
    positions,
    storage: "f32",
    seed: 7,
  };
  const folder = temporaryFolder(t);
  writeModel(folder, spec, (name, index) => {
    if (isNormWeight(name)) return 1;
    if (name === "embed_tokens.weight") return embeddings[index] as number;
    if (name !== "embed_positions.weight") return 0;
    const token = target.get(Math.floor(index / hidden) - 2);
    return token === undefined ? 0 : 30 * (embeddings[token * hidden + (index % hidden)] as number);
  });
  if (options.tokenizerFrom !== undefined) {
    for (const name of ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]) {
      cpSync(join(options.tokenizerFrom, name), join(folder, name));
    }
  }
  return { folder, vocab, prompts };
}
