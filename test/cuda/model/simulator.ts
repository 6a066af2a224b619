// The simulated GPU for tests of the whole library: settings, programs that run on it in processes of their own, and the
// record of what the device did (test/simdriver/driver/report.hpp).

import { readFileSync } from "node:fs";
import { join } from "node:path";

import type { Test } from "tap";

import { root } from "../../helpers/paths.js";
import { runScript, said, type ScriptResult } from "../../helpers/script.js";

/** `SPLITWISER_SIMDRIVER` names the folder of another build (the checked tier). */
const library = join(process.env["SPLITWISER_SIMDRIVER"] ?? join(root, "build/simdriver"), "libcuda.so.1");

/** Settings of test/simdriver/driver/settings.hpp, without their prefix. */
export type Settings = Partial<
  Record<
    | "ARCH" | "SMS" | "MEMORY" | "SEED" | "WORKERS" | "MMA" | "MMA_SEED" | "MPS" | "GREEN" | "DRIVER_VERSION" | "MISSING" | "FAIL" | "STALL"
    | "NO_DEVICE" | "INITIALISED" | "TRACE",
    string | number
  >
>;

function environment(settings: Settings, report?: string): Record<string, string> {
  const entries = Object.entries(settings).map(([name, value]) => [`SIMDRIVER_${name}`, String(value)]);
  const more = report === undefined ? [] : [["SIMDRIVER_REPORT", report]];
  return Object.fromEntries([["SPLITWISER_CUDA_LIBRARY", library], ...entries, ...more]) as Record<string, string>;
}

/** For this process, before the first model is loaded: the driver is opened once. */
export function simulate(settings: Settings = {}): void {
  Object.assign(process.env, environment(settings));
}

export interface Grid {
  kernel: string;
  stream: number;
  context: number;
  sms: number[];
  used: number[];
  /** Ticks of the machine. */
  enqueued: number;
  begin: number;
  end: number;
  graph: boolean;
}

export interface Report {
  findings: string[];
  finding_count: number;
  leaks: string[];
  calls: Record<string, number>;
  host_syncs: Record<string, number>;
  launches: number;
  graph_launches: number;
  graph_nodes: number;
  /** Of these, that may begin before the kernel in front of them has ended. */
  programmatic_nodes: number;
  device_allocations: number;
  host_allocations: number;
  pageable_copies: number;
  lazy_loads: number;
  copies: Record<string, number>;
  streams: { id: number; context: number; priority: number; kernels: number; graph_kernels: number }[];
  contexts: { id: number; kind: string; sms: number[] }[];
  trace: Grid[];
  trace_dropped: number;
  overlaps: { streams: [number, number]; contexts: [number, number]; grids: number; disjoint_sms: boolean }[];
}

export interface Run {
  script: ScriptResult;
  said: unknown[];
  report: Report;
}

/** Runs a program on a simulated GPU of its own; fails the test where it crashes or hangs. */
export async function runOnDevice(t: Test, settings: Settings, code: string, limitMs = 300_000): Promise<Run> {
  const path = join(t.testdir(), "report.json");
  const script = await runScript(code, { env: environment(settings, path), limitMs });
  t.equal(script.hung, false, "it comes to an end");
  t.equal(script.code, 0, "it ends well", { stderr: script.stderr.slice(-4000) });
  return { script, said: said(script), report: JSON.parse(readFileSync(path, "utf8")) as Report };
}

/** Nothing that a real GPU would punish now and then. */
export function nothingFound(t: Test, report: Report): void {
  t.same(report.findings, [], "the device found nothing wrong");
  t.same(report.leaks, [], "nothing is left allocated");
  t.equal(report.lazy_loads, 0, "every kernel was loaded before its first launch");
}
