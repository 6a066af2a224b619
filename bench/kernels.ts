// The native loop: kernels beside their roofline. It is a program of its own (bench/native), so that nothing of Node is in its figures.
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../dist/addon.js";
import { makeRow, say, type BenchRow } from "./row.js";

/** What `splitwiser_bench --json` prints. */
interface NativeReport {
  machine: { name: string; isa: string; cores: number; threads: number };
  /** Measured in the same run with all threads: f32 multiply-adds, reading from memory. */
  peak: { flops: number; readBytesPerSecond: number };
  rows: {
    name: string;
    shape: string;
    medianMs: number;
    /** Between the first and the third quartile. */
    spreadMs: number;
    achieved: number;
    unit: string;
    shareOfPeak: number;
    /** Against float64, absolute. */
    maxError: number | null;
    ok: boolean;
  }[];
}

export interface KernelFigures {
  rows: BenchRow[];
  /** Measured in the same run with all threads. */
  peak: NativeReport["peak"];
  machine: NativeReport["machine"];
}

function findProgram(): string {
  const name = process.platform === "win32" ? "splitwiser_bench.exe" : "splitwiser_bench";
  const folders = ["build/bin", "build/bin/Release"].map((folder) => join(packageRoot, folder));
  const found = folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
  if (found === undefined) throw new Error(`${name} was not found in ${folders.join(", ")}: \`npm run bench\` builds it`);
  return found;
}

/** The program exits with 1 when a result is wrong, and prints it all the same. */
function runProgram(quick: boolean): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(findProgram(), ["--json", ...(quick ? ["--quick"] : [])], { maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
      if (error !== null && stdout === "") reject(new Error(`splitwiser_bench failed: ${stderr.trim() || error.message}`));
      else resolve(stdout);
    });
  });
}

export async function kernelFigures(options: { quick: boolean }): Promise<KernelFigures> {
  say("kernels: GEMM, attention, norms, a whole model, each beside its roofline");
  const { machine, peak, rows } = JSON.parse(await runProgram(options.quick)) as NativeReport;
  return {
    machine,
    peak,
    rows: rows.map((row) =>
      makeRow({
        group: "kernels",
        name: `${row.name}, ${row.shape}`,
        unit: row.unit,
        value: row.achieved,
        spread: { of: "quartiles", share: row.spreadMs / row.medianMs },
        baseline:
          row.unit === "GB/s"
            ? { name: "read bandwidth", value: peak.readBytesPerSecond / 1e9 }
            : { name: "f32 FMA peak", value: peak.flops / 1e9 },
        check: { ok: row.ok, text: row.maxError === null ? "NaN" : `off by ${row.maxError.toExponential(1)}` },
      }),
    ),
  };
}
