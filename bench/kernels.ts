// The native loop: kernels beside their roofline. It is a program of its own (bench/native), so that nothing of Node is in its figures.
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { packageRoot } from "../dist/addon.js";
import type { Roofline } from "./model.js";
import { makeRow, say, type BenchRow } from "./row.js";

/** What `splitwiser_bench --json` prints. */
interface NativeReport {
  machine: { name: string; isa: string; threads: number; peak_flops: number; read_bandwidth: number };
  rows: {
    name: string;
    unit: string;
    median: number;
    min: number;
    max: number;
    roofline: { name: string; value: number } | null;
    max_error: number | null;
    tolerance: number | null;
  }[];
}

const run = promisify(execFile);

function findProgram(): string {
  const name = process.platform === "win32" ? "splitwiser_bench.exe" : "splitwiser_bench";
  const folders = ["build/bin", "build/bin/Release", "build/bench"].map((folder) => join(packageRoot, folder));
  const found = folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
  if (found === undefined) throw new Error(`${name} was not found in ${folders.join(", ")}: \`npm run bench\` builds it`);
  return found;
}

export interface KernelFigures {
  rows: BenchRow[];
  roofline: Roofline;
  machine: NativeReport["machine"];
}

export async function kernelFigures(): Promise<KernelFigures> {
  say("kernels: GEMM, attention, norms, each beside its roofline");
  const { stdout } = await run(findProgram(), ["--json"], { maxBuffer: 1 << 26 });
  const { machine, rows } = JSON.parse(stdout) as NativeReport;
  return {
    machine,
    roofline: { peakFlops: machine.peak_flops, readBandwidth: machine.read_bandwidth },
    rows: rows.map((row) =>
      makeRow({
        group: "kernels",
        name: row.name,
        unit: row.unit,
        value: { median: row.median, min: row.min, max: row.max },
        baseline: row.roofline,
        check: row.max_error === null ? null : `off by ${row.max_error.toExponential(1)}, allowed ${(row.tolerance ?? 0).toExponential(1)}`,
      }),
    ),
  };
}
