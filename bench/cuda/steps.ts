// Steps found in the record of the simulated driver (test/simdriver/driver/report.hpp): which grids belong together, and what each of
// them is in the model.
import { shape } from "../opt125m.js";
import type { Launched, Role, StepShape } from "./tiling.js";

/** Counters of test/simdriver/simt/counters.hpp that are not 0. */
export type Counters = Readonly<Partial<Record<string, number>>>;

export interface TraceGrid {
  kernel: string;
  graph: boolean;
  begin: number;
  blocks: number;
  threads: number;
  shared_bytes: number;
  counters: Counters;
}

/** One layer's launches stand for `times` layers. */
export interface StepLaunch extends Launched {
  times: number;
  trace: TraceGrid;
}

export interface Step extends StepShape {
  launches: StepLaunch[];
  /** Of one layer that is not the last one. */
  kernelsPerLayer: number;
  /** Layers that were simulated; the counts of the first one stand for all others but the last one. */
  simulatedLayers: number;
  kernels: number;
}

const gemmRoles = ["qkv", "out", "up", "down"] as const;

function roleOfKernel(kernel: string): Role {
  const word = (["attention", "norm", "embed", "kv_write", "gather", "sample"] as const).find((name) => kernel.startsWith(name));
  return word === "kv_write" ? "kv write" : (word ?? "other");
}

/** Decode steps are graphs that begin with the kernel that feeds them and end with the one that advances them. */
export function decodeSteps(trace: readonly TraceGrid[]): TraceGrid[][] {
  const steps: TraceGrid[][] = [];
  let open: TraceGrid[] | null = null;
  for (const grid of trace.filter(({ graph }) => graph)) {
    if (grid.kernel === "step_feed") open = [];
    open?.push(grid);
    if (grid.kernel === "step_advance" && open !== null) {
      steps.push(open);
      open = null;
    }
  }
  return steps;
}

/** Prefill steps are what lies between decode steps, from an embedding to a draw; layer groups that came before are graphs. */
export function prefillSteps(trace: readonly TraceGrid[]): TraceGrid[][] {
  const steps: TraceGrid[][] = [];
  let open: TraceGrid[] | null = null;
  let decodes = false;
  for (const grid of trace) {
    if (grid.kernel === "step_feed") decodes = true;
    if (grid.kernel === "step_advance") decodes = false;
    if (decodes || grid.kernel === "step_advance") continue;
    if (grid.kernel.startsWith("embed")) open = [];
    open?.push(grid);
    if (grid.kernel.startsWith("sample") && open !== null) {
      steps.push(open);
      open = null;
    }
  }
  return steps;
}

const sum = (grids: readonly TraceGrid[], name: string): number => grids.reduce((total, { counters }) => total + (counters[name] ?? 0), 0);

/** Bytes of keys and values that the step's attention copies: they tell batch and context. */
export function attendedBytes(grids: readonly TraceGrid[]): number {
  return sum(
    grids.filter(({ kernel }) => kernel.startsWith("attention")),
    "async_copy_bytes",
  );
}

/** Names what each grid of a step is. Throws where the step is not OPT's order of matrices. */
export function nameLaunches(grids: readonly TraceGrid[], step: StepShape): Step {
  const gemms = grids.filter(({ kernel }) => kernel.startsWith("gemm")).length;
  const layers = (gemms - 1) / gemmRoles.length;
  if (!Number.isInteger(layers) || layers < 2) {
    throw new Error(`expected 4 matrix products a layer of at least 2 layers and one for the head, found ${gemms}: add the new order to bench/cuda/steps.ts`);
  }
  const launches: StepLaunch[] = [];
  let seen = 0;
  let layer = -1;
  let gathered = false;
  let kernelsPerLayer = 0;
  for (const [index, grid] of grids.entries()) {
    const isGemm = grid.kernel.startsWith("gemm");
    const role = isGemm ? (seen === gemms - 1 ? "head" : (gemmRoles[seen % gemmRoles.length] ?? "other")) : roleOfKernel(grid.kernel);
    // A layer begins after the last one's second matrix of the MLP, the first one after the embedding.
    if (layer === -1 && index > 0 && roleOfKernel(grids[index - 1]?.kernel ?? "") === "embed") layer = 0;
    if (role === "gather") gathered = true;
    const rows = step.phase === "prefill" && gathered ? 1 : step.rows;
    const times = layer < 0 || layer === layers - 1 || layer >= layers ? 1 : layer === 0 ? shape.layers - 1 : 0;
    if (layer === 0) kernelsPerLayer += 1;
    const { kernel, blocks, threads, graph } = grid;
    if (times > 0) launches.push({ role, kernel, grid: blocks, threads, inGraph: graph, rows, times, trace: grid });
    if (isGemm) seen += 1;
    if (isGemm && seen % gemmRoles.length === 0 && layer >= 0) layer += 1;
  }
  const kernels = launches.reduce((total, { times }) => total + times, 0);
  return { ...step, launches, kernelsPerLayer, simulatedLayers: layers, kernels };
}
