// What each launch of an OPT step must do, from shapes and the documented tiling (kernels/gemm.hpp, attention.hpp, NOTES-*.md): what the
// counts of the simulated driver are held against. Types are f16, sums f32.
import { shape } from "../opt125m.js";

/** One step of the model: its rows, and the tokens in the cache of each sequence, those of this step included. */
export interface StepShape {
  phase: "prefill" | "decode";
  /** Rows of the step: tokens of the prompt, or sequences. */
  rows: number;
  context: number;
}

export type Role = "qkv" | "out" | "up" | "down" | "head" | "attention" | "norm" | "embed" | "kv write" | "gather" | "sample" | "other";

export interface Launched {
  role: Role;
  kernel: string;
  grid: number;
  /** Rows that this launch works on: 1 for what follows the last layer's gather of a prefill. */
  rows: number;
}

export interface Needed {
  /** Equal pieces of work (see kernel-time.ts), and how many of them a block has at once. */
  units: number;
  unitsPerBlock: number;
  /** Every different byte read or written, once. */
  compulsoryBytes: number;
  /** Bytes that the tiling asks for, repeats included. */
  requestedBytes: number;
  /** Of these, by cp.async. */
  asyncBytes: number;
  /** Of compulsoryBytes: weights, keys and values, which a decode step asks for exactly once. */
  streamedBytes: number;
  mma: number;
}

const half = 2;
const single = 4;
const { hidden, heads, ffn, vocab } = shape;
const headDim = hidden / heads;

const splitKeys = 512;
const leafKeys = 64;
const prefillTileRows = 64;
const decodeWarps = 4;
/** m, l and two floats beside the output of a split (kPartialExtra). */
const partialFloats = headDim + 4;

const up = (a: number, b: number): number => Math.ceil(a / b);

/** kernels/gemm_plan.cpp: parts of K double until 128 blocks of 128 / parts rows are there. */
export function gemmParts(m: number, k: number): number {
  let parts = 1;
  while (parts < 8 && 2 * parts <= up(k, 64) && up(m, 128) * parts < 128) parts *= 2;
  return parts;
}

interface Matrix {
  m: number;
  k: number;
  bias: boolean;
  residual: boolean;
  outBytes: number;
}

const matrices: Record<"qkv" | "out" | "up" | "down" | "head", Matrix> = {
  qkv: { m: 3 * hidden, k: hidden, bias: true, residual: false, outBytes: half },
  out: { m: hidden, k: hidden, bias: true, residual: true, outBytes: half },
  up: { m: ffn, k: hidden, bias: true, residual: false, outBytes: half },
  down: { m: hidden, k: ffn, bias: true, residual: true, outBytes: half },
  head: { m: vocab, k: hidden, bias: false, residual: false, outBytes: single },
};

/** Rows of the weight and tokens of a tile, by the kernel's name. */
function gemmTile(kernel: string, { m, k }: Matrix): { blockM: number; blockN: number } {
  if (kernel.startsWith("gemm_narrow64")) return { blockM: 32, blockN: 64 };
  const narrow = /^gemm_narrow(\d+)_/.exec(kernel)?.[1];
  if (narrow !== undefined) return { blockM: 128 / gemmParts(m, k), blockN: Number(narrow) };
  if (kernel.startsWith("gemm_middle")) return { blockM: 64, blockN: 64 };
  if (kernel.startsWith("gemm_wide")) return { blockM: 128, blockN: 128 };
  throw new Error(`the bench does not know the tile of ${kernel}: add it to bench/cuda/tiling.ts`);
}

function gemmNeeds(kernel: string, matrix: Matrix, rows: number): Needed {
  const { m, k, bias, residual, outBytes } = matrix;
  const { blockM, blockN } = gemmTile(kernel, matrix);
  const tilesM = up(m, blockM);
  const tilesN = up(rows, blockN);
  const weights = half * m * k;
  // The last tile's rows beyond m are read too: the packing has zeros there.
  const asyncBytes = half * k * (tilesM * blockM * tilesN + tilesM * rows);
  const epilogue = rows * m * ((bias ? single : 0) + (residual ? half : 0));
  const stored = rows * m * outBytes;
  return {
    units: tilesM * tilesN,
    unitsPerBlock: 1,
    compulsoryBytes: weights + half * rows * k + (bias ? single * m : 0) + (residual ? half * rows * m : 0) + stored,
    requestedBytes: asyncBytes + epilogue + stored,
    asyncBytes,
    streamedBytes: weights,
    mma: tilesM * tilesN * (blockM / 16) * (blockN / 8) * 4 * up(k, 64),
  };
}

function attentionNeeds({ phase, rows, context }: StepShape): Needed {
  const row = half * headDim;
  // mma of 16 query rows and a leaf of 64 keys: scores and output.
  const leafMma = 2 * (leafKeys / 8) * (headDim / 16);
  const ends = Array.from({ length: up(rows, prefillTileRows) }, (_, tile) => context - rows + Math.min(rows, (tile + 1) * prefillTileRows));
  const queries = heads * rows * row;
  if (phase === "prefill") {
    const asyncBytes = heads * 2 * row * ends.reduce((sum, end) => sum + end, 0);
    return {
      units: heads * ends.length,
      unitsPerBlock: 1,
      compulsoryBytes: 2 * queries + heads * 2 * row * context,
      requestedBytes: asyncBytes + 2 * queries,
      asyncBytes,
      streamedBytes: heads * 2 * row * context,
      mma: heads * ends.reduce((sum, end) => sum + (prefillTileRows / 16) * leafMma * up(end, leafKeys), 0),
    };
  }
  const splits = up(context, splitKeys);
  const streamedBytes = rows * heads * 2 * row * context;
  // Each split is written and read again by the one that folds.
  const partials = splits === 1 ? 0 : rows * heads * splits * partialFloats * single;
  return {
    units: rows * heads * splits,
    unitsPerBlock: decodeWarps,
    compulsoryBytes: streamedBytes + 2 * queries + partials,
    requestedBytes: streamedBytes + queries * (splits + 1) + 2 * partials,
    asyncBytes: streamedBytes,
    streamedBytes,
    mma: rows * heads * up(context, leafKeys) * leafMma,
  };
}

/** A kernel that passes over rows: `read` and `written` bytes for each, `shared` bytes read by all of them. */
function rowNeeds(launched: Launched, read: number, written: number, shared = 0): Needed {
  const each = launched.rows * (read + written);
  const requestedBytes = each + launched.rows * shared;
  return { units: launched.grid, unitsPerBlock: 1, compulsoryBytes: each + shared, requestedBytes, asyncBytes: 0, streamedBytes: 0, mma: 0 };
}

export function needsOf(launched: Launched, step: StepShape): Needed {
  const { role, kernel, rows } = launched;
  const line = half * hidden;
  switch (role) {
    case "qkv":
    case "out":
    case "up":
    case "down":
    case "head":
      return gemmNeeds(kernel, matrices[role], rows);
    case "attention":
      return attentionNeeds(step);
    case "norm":
      return rowNeeds(launched, line, line, 2 * single * hidden);
    case "embed":
      return rowNeeds(launched, 2 * line, line);
    case "kv write":
      return rowNeeds(launched, 2 * line, 2 * line);
    case "gather":
      return rowNeeds(launched, line, line);
    case "sample":
      return rowNeeds(launched, single * vocab, single);
    case "other":
      return rowNeeds(launched, single, single);
    default:
      throw new Error(`unknown role ${String(role satisfies never)}`);
  }
}

/** Bytes that a decode step cannot avoid: every matrix once, the keys and values of all sequences once. */
export function stepFloorBytes({ rows, context }: StepShape): number {
  const weights = shape.layers * half * (4 * hidden * hidden + 2 * hidden * ffn) + half * vocab * hidden;
  return weights + rows * context * shape.layers * 2 * hidden * half;
}
