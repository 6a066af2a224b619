// What each launch of an OPT step must do, from shapes and the documented tiling (kernels/NOTES*.md, attention_shape.hpp): what the counts
// of the simulated driver are held against. Types are f16, sums f32. test/cuda/traffic_test.cpp has the same formulas for more shapes.
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
  threads: number;
  inGraph: boolean;
  /** Rows that this launch works on: 1 for what follows the last layer's gather of a prefill. */
  rows: number;
}

export interface Needed {
  /** Equal pieces of work (see kernel-time.ts), and how many of them a block has at once. */
  units: number;
  unitsPerBlock: number;
  /** Every different byte read or written, once. */
  compulsoryBytes: number;
  /** Bytes that the tiling asks for, repeats included, and those that threads ask of the step's arrays (page ids, lengths, slots). */
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
const prefillThreads = 128;
const decodeWarps = 4;
/** m, l and two floats beside the output of a split (kPartialExtra). */
const partialFloats = headDim + 4;

const up = (a: number, b: number): number => Math.ceil(a / b);
const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
/** In a graph every thread asks how many rows are real. */
const realRowsBytes = ({ grid, threads, inGraph }: Launched): number => (inGraph ? 4 * grid * threads : 0);

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

/** Rows of the weight, tokens and threads of a tile, by the kernel's name. */
function gemmTile(kernel: string, { m, k }: Matrix): { blockM: number; blockN: number; threads: number } {
  if (kernel.startsWith("gemm_narrow64")) return { blockM: 32, blockN: 64, threads: 128 };
  const narrow = /^gemm_(?:narrow|normed)(\d+)_/.exec(kernel)?.[1];
  if (narrow !== undefined) return { blockM: 128 / gemmParts(m, k), blockN: Number(narrow), threads: 256 };
  if (kernel.startsWith("gemm_middle")) return { blockM: 64, blockN: 64, threads: 128 };
  if (kernel.startsWith("gemm_wide")) return { blockM: 128, blockN: 128, threads: 256 };
  throw new Error(`the bench does not know the tile of ${kernel}: add it to bench/cuda/tiling.ts`);
}

function gemmNeeds(launched: Launched, matrix: Matrix): Needed {
  const { kernel, rows, grid } = launched;
  const { m, k, bias, residual, outBytes } = matrix;
  const { blockM, blockN, threads } = gemmTile(kernel, matrix);
  const tilesM = up(m, blockM);
  const tokens = Array.from({ length: up(rows, blockN) }, (_, tile) => Math.min(blockN, rows - tile * blockN));
  const weights = half * m * k;
  // The last tile's rows beyond m are read too: the packing has zeros there.
  // A block that normalises the tokens has them, and the norm's weight and bias, once for all of its tiles.
  const normed = kernel.startsWith("gemm_normed");
  const norm = normed ? 2 * single * k : 0;
  const asyncBytes = half * k * (tilesM * blockM * tokens.length + (normed ? grid : tilesM) * rows);
  // A thread keeps the biases of its 8 rows for a tile's tokens.
  const biases = bias ? tilesM * sum(tokens.map((count) => 32 * Math.min(threads, (count * blockM) / 8))) : 0;
  const residuals = residual ? half * rows * m : 0;
  const stored = rows * m * outBytes;
  return {
    units: tilesM * tokens.length,
    unitsPerBlock: 1,
    compulsoryBytes: weights + half * rows * k + (bias ? single * m : 0) + residuals + stored + norm,
    requestedBytes: asyncBytes + biases + residuals + stored + grid * norm + realRowsBytes(launched),
    asyncBytes,
    streamedBytes: weights,
    mma: tilesM * tokens.length * (blockM / 16) * (blockN / 8) * 4 * up(k, 64),
  };
}

/** mma of 16 query rows and a leaf of 64 keys: scores and output. */
const leafMma = 2 * (leafKeys / 8) * (headDim / 16);
const headRow = half * headDim;

function prefillNeeds({ rows, context }: StepShape): Needed {
  const ends = Array.from({ length: up(rows, prefillTileRows) }, (_, tile) => context - rows + Math.min(rows, (tile + 1) * prefillTileRows));
  const queries = heads * rows * headRow;
  const asyncBytes = heads * 2 * headRow * sum(ends);
  // Each thread asks for the unit (tile, rows, length) before and after the walk, for the pages' place, and for a page for each leaf.
  const arrays = heads * prefillThreads * sum(ends.map((end) => 2 * 20 + 4 + 4 * up(end, leafKeys)));
  return {
    units: heads * ends.length,
    unitsPerBlock: 1,
    compulsoryBytes: 2 * queries + heads * 2 * headRow * context,
    requestedBytes: asyncBytes + 2 * queries + arrays,
    asyncBytes,
    streamedBytes: heads * 2 * headRow * context,
    mma: heads * sum(ends.map((end) => (prefillTileRows / 16) * leafMma * up(end, leafKeys))),
  };
}

/** A unit is a warp's, or a block's: its warps divide scores and outputs, but each finds its work itself. */
function decodeNeeds({ rows, context }: StepShape, { grid, kernel }: Launched): Needed {
  const block = kernel.startsWith("attention_decode_block");
  const unitWarps = block ? decodeWarps : 1;
  const splits = up(context, splitKeys);
  const units = rows * heads * splits;
  const streamedBytes = rows * heads * 2 * headRow * context;
  const queries = rows * heads * headRow;
  // Each split is written, and read again by the one that folds: four columns, m and l for each, of two splits at a time.
  const written = splits === 1 ? 0 : units * partialFloats * single;
  const folded = splits === 1 ? 0 : rows * heads * up(splits, 2) * 2 * (headDim / 4) * 32;
  // A warp that looks for a unit asks for the number of segments, and for the length and rows of 32 of them at most; the last time in vain.
  const search = 32 * 4 + 12 * Math.min(rows, 32);
  const found = units * unitWarps * (search + 32 * 8) + rows * heads * up(context, leafKeys) * unitWarps * 32 * 4;
  const arrays = found + grid * decodeWarps * search;
  return {
    units,
    unitsPerBlock: decodeWarps / unitWarps,
    compulsoryBytes: streamedBytes + 2 * queries + 2 * written,
    requestedBytes: streamedBytes + queries * (splits + 1) + written + folded + arrays,
    asyncBytes: streamedBytes,
    streamedBytes,
    mma: rows * heads * up(context, leafKeys) * leafMma,
  };
}

interface RowWork {
  /** Of each row. */
  read: number;
  written: number;
  /** Read for each row, but the same for all. */
  shared?: number;
  /** Asked of the step's arrays. */
  arrays: number;
  /** Of these arrays, what the kernel cannot do without: whole sectors. */
  sectors?: number;
}

/** So many 4-byte numbers that lie side by side. */
const sectorsOf = (numbers: number): number => up(numbers, 8);

/** A kernel that passes over rows. */
function rowNeeds({ rows, grid }: Launched, { read, written, shared = 0, arrays, sectors = 0 }: RowWork): Needed {
  const each = rows * (read + written);
  return {
    units: grid,
    unitsPerBlock: 1,
    compulsoryBytes: each + shared + 32 * sectors,
    requestedBytes: each + rows * shared + arrays,
    asyncBytes: 0,
    streamedBytes: 0,
    mma: 0,
  };
}

export function needsOf(launched: Launched, step: StepShape): Needed {
  const { role, rows, grid, threads } = launched;
  const line = half * hidden;
  // A thread has 8 elements of a row.
  const items = (rows * hidden) / 8;
  switch (role) {
    case "qkv":
    case "out":
    case "up":
    case "down":
    case "head":
      return gemmNeeds(launched, matrices[role]);
    case "attention":
      return step.phase === "prefill" ? prefillNeeds(step) : decodeNeeds(step, launched);
    case "norm":
      return rowNeeds(launched, { read: line, written: line, shared: 2 * single * hidden, arrays: realRowsBytes(launched) });
    case "embed":
      // Token and position; every thread asks for the number of rows, in a graph or not.
      return rowNeeds(launched, { read: 2 * line, written: line, arrays: 8 * items + 4 * grid * threads, sectors: 2 * sectorsOf(rows) + 1 });
    case "kv write":
      // Of four heads at a time: segment, position, where its pages begin, the page. Each sequence of a decode step has a page elsewhere.
      return rowNeeds(launched, {
        read: 2 * line,
        written: 2 * line,
        arrays: (16 * 2 * items) / 4 + 4 * grid * threads,
        sectors: 2 * sectorsOf(rows) + 1 + (step.phase === "decode" ? sectorsOf(rows) + rows : 1 + sectorsOf(rows / 16)),
      });
    case "gather":
      return rowNeeds(launched, { read: line, written: line, arrays: 4 * items, sectors: sectorsOf(rows) });
    case "sample":
      // Every thread asks for seven words of the row's slot; in a graph also whether the row has ended.
      return rowNeeds(launched, {
        read: single * vocab,
        written: 0,
        arrays: rows * threads * (step.phase === "decode" ? 32 : 28) + realRowsBytes(launched),
      });
    case "other":
      return rowNeeds(launched, { read: single, written: single, arrays: 4 * grid * threads });
    default:
      throw new Error(`unknown role ${String(role satisfies never)}`);
  }
}

/** Bytes that a step cannot avoid: every matrix once, the keys and values of all sequences once. */
export function stepFloorBytes({ phase, rows, context }: StepShape): number {
  const weights = shape.layers * half * (4 * hidden * hidden + 2 * hidden * ffn) + half * vocab * hidden;
  const sequences = phase === "decode" ? rows : 1;
  return weights + sequences * context * shape.layers * 2 * hidden * half;
}
