// A model of OPT-125M's shape with random weights: speed does not depend on their values, and nothing needs downloading.
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRandom } from "../dist/workload/random.js";

/** As facebook/opt-125m's config.json has them. */
export const shape = { layers: 12, hidden: 768, heads: 12, ffn: 3072, vocab: 50272, positions: 2048 } as const;

const wholeConfig = {
  model_type: "opt",
  architectures: ["OPTForCausalLM"],
  activation_function: "relu",
  do_layer_norm_before: true,
  enable_bias: true,
  layer_norm_elementwise_affine: true,
  tie_word_embeddings: true,
  torch_dtype: "float16",
  hidden_size: shape.hidden,
  word_embed_proj_dim: shape.hidden,
  num_hidden_layers: shape.layers,
  num_attention_heads: shape.heads,
  ffn_dim: shape.ffn,
  vocab_size: shape.vocab,
  max_position_embeddings: shape.positions,
  bos_token_id: 2,
  eos_token_id: 2,
  pad_token_id: 1,
};

interface TensorPlan {
  name: string;
  shape: number[];
  fill: "random" | "one" | "zero";
}

function tensors(layers: number): TensorPlan[] {
  const { hidden, ffn, vocab, positions } = shape;
  const norm = (name: string): TensorPlan[] => [
    { name: `${name}.weight`, shape: [hidden], fill: "one" },
    { name: `${name}.bias`, shape: [hidden], fill: "zero" },
  ];
  const linear = (name: string, rows: number, cols: number): TensorPlan[] => [
    { name: `${name}.weight`, shape: [rows, cols], fill: "random" },
    { name: `${name}.bias`, shape: [rows], fill: "random" },
  ];
  const decoder = "model.decoder";
  const all: TensorPlan[] = [
    { name: `${decoder}.embed_tokens.weight`, shape: [vocab, hidden], fill: "random" },
    // OPT keeps two rows before the first position.
    { name: `${decoder}.embed_positions.weight`, shape: [positions + 2, hidden], fill: "random" },
    ...norm(`${decoder}.final_layer_norm`),
  ];
  for (let layer = 0; layer < layers; layer++) {
    const at = `${decoder}.layers.${layer}`;
    for (const projection of ["q_proj", "k_proj", "v_proj", "out_proj"]) all.push(...linear(`${at}.self_attn.${projection}`, hidden, hidden));
    all.push(...norm(`${at}.self_attn_layer_norm`), ...linear(`${at}.fc1`, ffn, hidden));
    all.push(...linear(`${at}.fc2`, hidden, ffn), ...norm(`${at}.final_layer_norm`));
  }
  return all;
}

/** 2^16 halves, evenly in +-0.03: 0.02 is OPT's own spread at the start of training. */
function randomHalves(): Uint16Array {
  const random = createRandom(125);
  // float16 bits of |x| < 2^-5 on a grid of 2^-16: an integer below 2048 is exact.
  return Uint16Array.from({ length: 1 << 16 }, () => halfBits(Math.floor(random() * 1966)) | (random() < 0.5 ? 0x8000 : 0));
}

/** float16 bits of `steps` * 2^-16, 0 <= steps < 2048. */
function halfBits(steps: number): number {
  if (steps === 0) return 0;
  const exponent = 31 - Math.clz32(steps);
  // value = 2^(exponent - 16) * 1.f; below 2^-14 halves are subnormal in steps of 2^-24.
  if (exponent < 2) return steps << 8;
  return ((exponent - 16 + 15) << 10) | ((steps << (10 - exponent)) & 0x3ff);
}

/** Folder of the model; written once, 240 MiB in the system's folder for temporary files. With fewer layers, all else is the same. */
export async function opt125m({ layers = shape.layers }: { layers?: number } = {}): Promise<string> {
  const plan = tensors(layers);
  const config = { ...wholeConfig, num_hidden_layers: layers };
  const header: Record<string, object> = {};
  let offset = 0;
  for (const { name, shape: dims } of plan) {
    const bytes = 2 * dims.reduce((product, size) => product * size, 1);
    header[name] = { dtype: "F16", shape: dims, data_offsets: [offset, offset + bytes] };
    offset += bytes;
  }
  const text = JSON.stringify(header);
  const json = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8));
  const key = createHash("sha256").update(json).update(JSON.stringify(config)).digest("hex").slice(0, 12);
  const folder = join(tmpdir(), `splitwiser-bench-opt-125m-${key}`);
  if (existsSync(folder)) return folder;
  const making = mkdtempSync(`${folder}-`);
  try {
    writeFileSync(join(making, "config.json"), JSON.stringify(config));
    await writeTensors(join(making, "model.safetensors"), json, plan);
    // Whole or not at all: a bench that is interrupted leaves no half of a model behind.
    renameSync(making, folder);
  } catch (error) {
    rmSync(making, { recursive: true, force: true });
    if (!existsSync(folder)) throw error;
  }
  return folder;
}

async function writeTensors(path: string, header: Buffer, plan: readonly TensorPlan[]): Promise<void> {
  const halves = randomHalves();
  const file = await open(path, "w");
  try {
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    await file.write(length);
    await file.write(header);
    let state = 1;
    for (const { shape: dims, fill } of plan) {
      const values = new Uint16Array(dims.reduce((product, size) => product * size, 1));
      if (fill === "one") values.fill(0x3c00);
      for (let i = 0; fill === "random" && i < values.length; i++) {
        // Numerical Recipes' LCG; its high bits are good enough to pick from the table.
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        values[i] = halves[state >>> 16] ?? 0;
      }
      await file.write(Buffer.from(values.buffer));
    }
  } finally {
    await file.close();
  }
}

/** Weights that a token passes: all matrices of the layers, and the output head. */
const layerWeights = shape.layers * (4 * shape.hidden * shape.hidden + 2 * shape.hidden * shape.ffn);
const headWeights = shape.vocab * shape.hidden;

/** Floating-point operations of a whole prefill: matrices for all tokens, the head for the last, causal attention (QK and PV). */
export function prefillFlops(tokens: number): number {
  const attention = shape.layers * 4 * shape.hidden * ((tokens * (tokens + 1)) / 2);
  return 2 * layerWeights * tokens + 2 * headWeights + attention;
}

/** Bytes that one decoded token must read: every weight once, and the keys and values of `context` tokens. */
export function decodeBytes(options: { weightBytes: number; cacheBytes: number; context: number }): number {
  const cache = 2 * shape.layers * shape.hidden * options.context;
  return (layerWeights + headWeights) * options.weightBytes + cache * options.cacheBytes;
}
