// Exact counts of OPT-125M's steps: the addon with device "cuda" on the simulated driver, in a process for each device class.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { packageRoot } from "../../dist/addon.js";
import { opt125m, shape } from "../opt125m.js";
import type { CountPlan } from "./count-child.js";
import type { DeviceClass } from "./device-classes.js";
import { attendedBytes, decodeSteps, nameLaunches, prefillSteps, type Step, type TraceGrid } from "./steps.js";
import { needsOf, type StepShape } from "./tiling.js";

/** fast: bytes of cp.async, matrix instructions, launches; checked: every access. */
export type Tier = "fast" | "checked";

const prefills = 3;

export interface CountOptions {
  device: DeviceClass;
  tier: Tier;
  layers: number;
  prefill: number;
  decode: CountPlan["decode"];
}

interface SimulatedReport {
  checked: boolean;
  findings: string[];
  trace: TraceGrid[];
  trace_dropped: number;
}

function driverOf(tier: Tier): string {
  const path = join(packageRoot, tier === "fast" ? "build/simdriver" : "build/simdriver-checked", "libcuda.so.1");
  if (!existsSync(path)) throw new Error(`${path} is not there: \`npm run build:simdriver\` makes it`);
  return path;
}

function runChild(plan: CountPlan, environment: Record<string, string>): Promise<void> {
  const script = fileURLToPath(new URL("count-child.js", import.meta.url));
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [script, JSON.stringify(plan)], {
      env: { ...process.env, ...environment },
      stdio: ["ignore", "ignore", "pipe"],
    });
    let told = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => (told += text));
    child.on("error", reject);
    child.on("close", (code, signal) => {
      if (code === 0) resolve();
      else reject(new Error(`counting on the simulated device failed (${signal ?? `exit code ${code}`}): ${told.trim().slice(-2000)}`));
    });
  });
}

/** Keys and values that the attention of all simulated layers copies in this step. */
function expectedBytes(step: StepShape, layers: number): number {
  return layers * needsOf({ role: "attention", kernel: "attention", grid: 1, threads: 128, inGraph: true, rows: step.rows }, step).asyncBytes;
}

/** The prefill, then the decode steps as they were asked for. */
export async function countSteps({ device, tier, layers, prefill, decode }: CountOptions): Promise<Step[]> {
  const folder = mkdtempSync(join(tmpdir(), "splitwiser-bench-counts-"));
  const path = join(folder, "report.json");
  try {
    await runChild(
      { model: await opt125m({ layers }), prefill, prefills, decode },
      {
        SPLITWISER_CUDA_LIBRARY: driverOf(tier),
        SIMDRIVER_ARCH: String(device.arch),
        SIMDRIVER_SMS: String(device.sms),
        SIMDRIVER_MEMORY: "4G",
        SIMDRIVER_REPORT: path,
        SIMDRIVER_TRACE: "1000000",
        SIMDRIVER_TRACE_COUNTERS: "1",
      },
    );
    const report = JSON.parse(readFileSync(path, "utf8")) as SimulatedReport;
    if (report.findings.length > 0) throw new Error(`the simulated device found: ${report.findings.slice(0, 3).join("; ")}`);
    const trace = [...report.trace].sort((a, b) => a.begin - b.begin);
    const prompt: StepShape = { phase: "prefill", rows: prefill, context: prefill };
    const wanted = [prompt, ...decode.map(({ batch, context }): StepShape => ({ phase: "decode", rows: batch, context }))];
    const candidates = { prefill: prefillSteps(trace).slice(prefills - 1, prefills), decode: decodeSteps(trace) };
    return wanted.map((step) => {
      const bytes = expectedBytes(step, layers);
      const found = candidates[step.phase].find((grids) => attendedBytes(grids) === bytes);
      if (found === undefined) {
        const seen = candidates[step.phase].map((grids) => attendedBytes(grids)).join(", ");
        throw new Error(
          `no ${step.phase} step of ${step.rows} rows at ${step.context} tokens: expected one that copies ${bytes} bytes of keys and values, ` +
            `each once for a tile of rows; the steps copied ${seen || "nothing"}`,
        );
      }
      return nameLaunches(found, step);
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export const wholeLayers = shape.layers;
