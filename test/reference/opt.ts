// OPT in float64 by plain loops: the other opinion on what the engine computes. Written from the definition of the
// architecture (Zhang et al., "OPT: Open Pre-trained Transformer Language Models", and the layout of its published checkpoints); it shares nothing with the engine.

import { readFileSync } from "node:fs";
import { join } from "node:path";

import { readSafetensors } from "./safetensors.js";

const positionOffset = 2;
const normEps = 1e-5;

interface OptConfig {
  hidden_size: number;
  num_hidden_layers: number;
  num_attention_heads: number;
  vocab_size: number;
  word_embed_proj_dim: number;
  do_layer_norm_before: boolean;
  activation_function: string;
}

export interface ReferenceModel {
  config: OptConfig;
  /** By the names of the checkpoint, without "model.". */
  weights: Map<string, Float64Array>;
}

/** Keys and values so far: per layer, per position, [hidden]. */
export interface ReferenceState {
  length: number;
  keys: Float64Array[][];
  values: Float64Array[][];
}

export function loadReference(folder: string): ReferenceModel {
  const config = JSON.parse(readFileSync(join(folder, "config.json"), "utf8")) as OptConfig;
  if (config.activation_function !== "relu") throw new Error("the reference knows OPT with ReLU only");
  const weights = new Map<string, Float64Array>();
  for (const [name, tensor] of readSafetensors(join(folder, "model.safetensors"))) {
    weights.set(name.replace(/^model\./, ""), tensor.values);
  }
  return { config, weights };
}

export function newState(model: ReferenceModel): ReferenceState {
  const perLayer = (): Float64Array[][] => Array.from({ length: model.config.num_hidden_layers }, () => []);
  return { length: 0, keys: perLayer(), values: perLayer() };
}

function weight(model: ReferenceModel, name: string): Float64Array {
  const values = model.weights.get(name);
  if (values === undefined) throw new Error(`the checkpoint has no ${name}`);
  return values;
}

/** y = W x + b, W [outputs, x.length]. */
function linear(x: Float64Array, w: Float64Array, bias?: Float64Array): Float64Array {
  const inputs = x.length;
  const outputs = w.length / inputs;
  const y = new Float64Array(outputs);
  for (let o = 0; o < outputs; ++o) {
    let sum = 0;
    for (let i = 0; i < inputs; ++i) sum += (w[o * inputs + i] as number) * (x[i] as number);
    y[o] = sum + (bias?.[o] ?? 0);
  }
  return y;
}

function layerNorm(x: Float64Array, gain: Float64Array, bias: Float64Array): Float64Array {
  let mean = 0;
  for (const value of x) mean += value / x.length;
  let variance = 0;
  for (const value of x) variance += (value - mean) ** 2 / x.length;
  const scale = 1 / Math.sqrt(variance + normEps);
  return x.map((value, i) => (value - mean) * scale * (gain[i] as number) + (bias[i] as number));
}

function add(a: Float64Array, b: Float64Array): Float64Array {
  return a.map((value, i) => value + (b[i] as number));
}

function softmax(scores: number[]): number[] {
  const top = Math.max(...scores);
  const powers = scores.map((score) => Math.exp(score - top));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

/** Attention of the newest position over all positions up to it. */
function attend(q: Float64Array, keys: Float64Array[], values: Float64Array[], heads: number): Float64Array {
  const headDim = q.length / heads;
  const out = new Float64Array(q.length);
  for (let h = 0; h < heads; ++h) {
    const base = h * headDim;
    const scores = keys.map((key) => {
      let dot = 0;
      for (let d = base; d < base + headDim; ++d) dot += (q[d] as number) * (key[d] as number);
      return dot / Math.sqrt(headDim);
    });
    softmax(scores).forEach((share, position) => {
      const value = values[position] as Float64Array;
      for (let d = base; d < base + headDim; ++d) out[d] = (out[d] as number) + share * (value[d] as number);
    });
  }
  return out;
}

function layer(model: ReferenceModel, state: ReferenceState, index: number, input: Float64Array): Float64Array {
  const prefix = `decoder.layers.${index}`;
  const before = model.config.do_layer_norm_before;
  const affine = (x: Float64Array, name: string): Float64Array =>
    linear(x, weight(model, `${prefix}.${name}.weight`), weight(model, `${prefix}.${name}.bias`));
  const norm = (x: Float64Array, name: string): Float64Array =>
    layerNorm(x, weight(model, `${prefix}.${name}.weight`), weight(model, `${prefix}.${name}.bias`));
  const keys = state.keys[index] as Float64Array[];
  const values = state.values[index] as Float64Array[];

  const attentionInput = before ? norm(input, "self_attn_layer_norm") : input;
  keys.push(affine(attentionInput, "self_attn.k_proj"));
  values.push(affine(attentionInput, "self_attn.v_proj"));
  const q = affine(attentionInput, "self_attn.q_proj");
  const attended = attend(q, keys, values, model.config.num_attention_heads);
  let x = add(input, affine(attended, "self_attn.out_proj"));
  if (!before) x = norm(x, "self_attn_layer_norm");

  const mlpInput = before ? norm(x, "final_layer_norm") : x;
  const inner = affine(mlpInput, "fc1").map((value) => Math.max(value, 0));
  x = add(x, affine(inner, "fc2"));
  return before ? x : norm(x, "final_layer_norm");
}

/** Appends one token and returns the logits [vocab] of its position. */
export function advance(model: ReferenceModel, state: ReferenceState, token: number): Float64Array {
  const { hidden_size: hidden, word_embed_proj_dim: embedDim, num_hidden_layers: layers } = model.config;
  const tokens = weight(model, "decoder.embed_tokens.weight");
  const positions = weight(model, "decoder.embed_positions.weight");

  let x: Float64Array = tokens.slice(token * embedDim, (token + 1) * embedDim);
  if (embedDim !== hidden) x = linear(x, weight(model, "decoder.project_in.weight"));
  const row = state.length + positionOffset;
  x = add(x, positions.subarray(row * hidden, (row + 1) * hidden));
  for (let index = 0; index < layers; ++index) x = layer(model, state, index, x);
  if (model.config.do_layer_norm_before) {
    x = layerNorm(x, weight(model, "decoder.final_layer_norm.weight"), weight(model, "decoder.final_layer_norm.bias"));
  }
  if (embedDim !== hidden) x = linear(x, weight(model, "decoder.project_out.weight"));
  state.length += 1;
  return linear(x, tokens);
}

/** The logits of every position: one [vocab] per token. */
export function referenceLogits(model: ReferenceModel, ids: readonly number[]): Float64Array[] {
  const state = newState(model);
  return ids.map((id) => advance(model, state, id));
}

export function argmax(logits: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < logits.length; ++i) if ((logits[i] as number) > (logits[best] as number)) best = i;
  return best;
}

/** Greedy decoding, end-of-sequence ignored: the tokens, and the logits that each was chosen from. */
export function referenceGreedy(
  model: ReferenceModel,
  prompt: readonly number[],
  steps: number,
): { ids: number[]; logits: Float64Array[] } {
  const state = newState(model);
  let last: Float64Array = new Float64Array();
  for (const id of prompt) last = advance(model, state, id);
  const ids: number[] = [];
  const logits: Float64Array[] = [];
  while (ids.length < steps) {
    const next = argmax(last);
    ids.push(next);
    logits.push(last);
    if (ids.length < steps) last = advance(model, state, next);
  }
  return { ids, logits };
}
