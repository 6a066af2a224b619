// Modelled times of OPT-125M's steps on GPUs that are not here: exact counts of the simulated driver, put through kernel-time.ts.
// No figure of this file was measured on a GPU, and none passes or fails.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../../dist/addon.js";
import { prefillFlops, shape } from "../opt125m.js";
import { say } from "../row.js";
import { countSteps, type Tier } from "./counts.js";
import { deviceClasses, type DeviceClass } from "./device-classes.js";
import { assumptions, floorSeconds, kernelTime, type Bound, type LaunchCounts, type ModelledTime } from "./kernel-time.js";
import type { Step, StepLaunch } from "./steps.js";
import { needsOf, stepFloorBytes } from "./tiling.js";

/** { kernel: { arch: what ptxas said } } */
type Resources = Record<string, Record<string, { registers: number; shared: number }>>;

export const aim = { kernelsPerLayer: 6, stepMicroseconds: 250, device: "H100" } as const;

export interface ModelledKernel {
  role: string;
  kernel: string;
  /** Times in a step of all layers. */
  times: number;
  grid: number;
  threads: number;
  registers: number;
  sharedBytes: number;
  memoryBytes: number;
  requestedBytes: number;
  mma: number;
  /** Of one launch. */
  modelled: ModelledTime;
}

export interface ModelledStep {
  device: string;
  phase: "prefill" | "decode";
  rows: number;
  context: number;
  kernels: ModelledKernel[];
  launches: number;
  kernelsPerLayer: number;
  modelledSeconds: number;
  /** Of it, gaps between kernels. */
  gapSeconds: number;
  floorSeconds: number;
}

export interface ModelledReport {
  tier: Tier;
  simulatedLayers: number;
  steps: ModelledStep[];
}

function readResources(): Resources {
  const path = join(packageRoot, "build-kernels/all/kernels.json");
  const { files } = JSON.parse(readFileSync(path, "utf8")) as { files: { kernels: Resources }[] };
  return Object.assign({}, ...files.map(({ kernels }) => kernels)) as Resources;
}

/**
 * Bytes of memory are what a launch touches, each sector once. In the fast tier the counters know cp.async only; what else a launch reads
 * and writes is taken from its shapes. Sequences of a batch share pages here (one prompt is computed, not 32): keys and values are what
 * attention asked for, which is each byte once.
 */
export function countsOf(launch: StepLaunch, step: Step, tier: Tier, resources: { registers: number; shared: number }): LaunchCounts {
  const need = needsOf(launch, step);
  const { counters, threads, shared_bytes: dynamic, graph } = launch.trace;
  const count = (name: string): number => counters[name] ?? 0;
  const asyncBytes = count("async_copy_bytes");
  const checked = tier === "checked";
  const unique = 32 * (count("unique_load_sectors") + count("unique_store_sectors"));
  const asked = checked ? count("global_load_bytes") + count("global_store_bytes") : asyncBytes + need.requestedBytes - need.asyncBytes;
  const shares = launch.role === "attention" && step.phase === "decode";
  return {
    kernel: launch.kernel,
    grid: launch.grid,
    threads,
    sharedBytes: dynamic + resources.shared,
    registers: resources.registers,
    inGraph: graph,
    units: need.units,
    unitsPerBlock: need.unitsPerBlock,
    memoryBytes: !checked ? need.compulsoryBytes : shares ? Math.max(unique, asyncBytes) : unique,
    requestedBytes: asked,
    asyncBytes,
    mma: count("mma"),
  };
}

export function modelStep(step: Step, device: DeviceClass, tier: Tier, resources: Resources): ModelledStep {
  const kernels = step.launches.map((launch): ModelledKernel => {
    const found = resources[launch.kernel]?.[String(device.arch)];
    if (found === undefined) throw new Error(`build-kernels/all/kernels.json has no ${launch.kernel} for sm_${device.arch}: build the kernels anew`);
    const counts = countsOf(launch, step, tier, found);
    const { role, kernel, times } = launch;
    const { grid, threads, registers, sharedBytes, memoryBytes, requestedBytes, mma } = counts;
    return { role, kernel, times, grid, threads, registers, sharedBytes, memoryBytes, requestedBytes, mma, modelled: kernelTime(counts, device) };
  });
  const launches = kernels.reduce((total, { times }) => total + times, 0);
  const gaps = step.launches.map(({ inGraph, times }) => times * (inGraph ? assumptions.graphGapSeconds : assumptions.launchGapSeconds));
  return {
    device: device.name,
    phase: step.phase,
    rows: step.rows,
    context: step.context,
    kernels,
    launches,
    kernelsPerLayer: step.kernelsPerLayer,
    modelledSeconds: kernels.reduce((total, { times, modelled }) => total + times * modelled.seconds, 0),
    gapSeconds: gaps.reduce((total, gap) => total + gap, 0),
    floorSeconds: floorSeconds({ bytes: stepFloorBytes(step), flops: step.phase === "prefill" ? prefillFlops(step.rows) : 0 }, device),
  };
}

export async function modelledReport({ tier, layers, quick }: { tier: Tier; layers: number; quick: boolean }): Promise<ModelledReport> {
  const resources = readResources();
  const steps: ModelledStep[] = [];
  const decode = [
    { batch: 1, context: 512 },
    { batch: 8, context: 512 },
    { batch: 32, context: 512 },
    { batch: 1, context: 1024 },
  ];
  for (const device of deviceClasses) {
    say(`modelled: ${device.name}, ${layers} of ${shape.layers} layers on the simulated driver, ${tier} tier`);
    const found = await countSteps({ device, tier, layers, prefill: 512, decode: quick ? decode.slice(0, 1) : decode });
    steps.push(...found.map((step) => modelStep(step, device, tier, resources)));
  }
  return { tier, simulatedLayers: layers, steps };
}

export const boundWords: Record<Bound, string> = {
  launch: "launch",
  latency: "bytes in flight",
  memory: "bandwidth",
  L2: "L2",
  tensor: "tensor",
};
