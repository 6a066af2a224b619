// `npm run bench -- [--json] [--quick] [--only kernels,model,js] [--repeats 5] [--device cpu|cuda|cuda:N]`: every figure beside its baseline,
// all taken in this run. On the simulated device, exact counts: `--modelled [--layers 2] [--tier fast|checked]`: times of GPUs that are not
// here, computed from them; `--traffic`: what each kernel reads and writes, beside what it must.
import { parseArgs } from "node:util";
import { colorsOf, numberText, printJson, printLine, tableText } from "../dist/cli/terminal.js";
import { findGpu, type GpuFound } from "./cuda/gpu.js";
import { printModelled } from "./cuda/modelled-text.js";
import { aim, modelledReport } from "./cuda/modelled.js";
import { countTraffic, printTraffic } from "./cuda/traffic.js";
import { jsRows } from "./js.js";
import { kernelFigures } from "./kernels.js";
import { modelRows, type Roofline } from "./model.js";
import { shape } from "./opt125m.js";
import type { BenchRow, FigureSpread } from "./row.js";

const groups = ["kernels", "model", "js"] as const;
const tiers = ["fast", "checked"] as const;

interface BenchArguments {
  json: boolean;
  /** Short kernel runs, one modelled decode step: whether it works, not how fast. */
  quick: boolean;
  only: readonly string[];
  repeats: number;
  device: string;
  modelled: boolean;
  traffic: boolean;
  layers: number;
  tier: (typeof tiers)[number];
}

function readInteger(name: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new Error(`--${name}: expected an integer from ${least} to ${most}, got "${text}"`);
}

function readArguments(): BenchArguments {
  const { values } = parseArgs({
    options: {
      json: { type: "boolean", default: false },
      quick: { type: "boolean", default: false },
      only: { type: "string" },
      repeats: { type: "string", default: "5" },
      device: { type: "string", default: "cpu" },
      modelled: { type: "boolean", default: false },
      traffic: { type: "boolean", default: false },
      layers: { type: "string", default: "2" },
      tier: { type: "string", default: tiers[0] },
    },
  });
  const { json, quick, device, modelled, traffic } = values;
  // The kernels' loop is the CPU's own, and what JavaScript costs is measured with it.
  const offered = device === "cpu" ? groups : (["model"] as const);
  const only = values.only?.split(",") ?? offered;
  const unknown = only.find((word) => !offered.some((group) => group === word));
  if (unknown !== undefined) throw new Error(`--only: expected a list of ${offered.join(",")} on ${device}, got "${unknown}"`);
  const tier = tiers.find((one) => one === values.tier);
  if (tier === undefined) throw new Error(`--tier: expected ${tiers.join(" or ")}, got "${values.tier}"`);
  const repeats = readInteger("repeats", values.repeats, 1, 1000);
  const layers = readInteger("layers", values.layers, 2, shape.layers);
  return { json, quick, only, repeats, device, modelled, traffic, layers, tier };
}

function spreadText(spread: FigureSpread | null): string {
  if (spread === null) return "";
  switch (spread.of) {
    case "range":
      return ` (${numberText(spread.min)}..${numberText(spread.max)})`;
    case "quartiles":
      return ` (quartiles ${numberText(100 * spread.share)} % apart)`;
    default:
      throw new Error(`unknown spread ${String(spread satisfies never)}`);
  }
}

function cells({ name, unit, value, spread, baseline, ratio, check }: BenchRow): string[] {
  const beside = baseline === null ? "-" : `${baseline.name}: ${numberText(baseline.value)}`;
  // A share of a limit reads as percent, a multiple of something cheaper as a factor.
  const judged = ratio === null ? "-" : ratio <= 1 ? `${numberText(100 * ratio)} %` : `${numberText(ratio)}x`;
  const checked = check === null ? "" : check.ok ? check.text : `WRONG: ${check.text}`;
  return [name, `${numberText(value)}${spreadText(spread)}`, unit, beside, judged, checked];
}

function printRows(rows: readonly BenchRow[]): void {
  const columns = [
    { head: "what", align: "left" as const },
    { head: "median (spread)" },
    { head: "unit", align: "left" as const },
    { head: "beside", align: "left" as const },
    { head: "share" },
    { head: "check", align: "left" as const },
  ];
  printLine(tableText(columns, rows.map(cells), colorsOf(process.stdout)));
}

async function measureCpu({ json, quick, only, repeats }: BenchArguments): Promise<void> {
  const rows: BenchRow[] = [];
  // The limits come from the native loop, so the model's rows need it as well.
  const kernels = only.includes("kernels") || only.includes("model") ? await kernelFigures({ quick }) : null;
  if (kernels !== null && only.includes("kernels")) rows.push(...kernels.rows);
  if (kernels !== null && only.includes("model")) {
    const peak = { name: "f32 FMA peak", value: kernels.peak.flops };
    const roofline: Roofline = {
      flops: { f32: peak, f16: peak },
      bandwidth: { name: "read bandwidth", value: kernels.peak.readBytesPerSecond },
    };
    rows.push(...(await modelRows({ device: "cpu", repeats, roofline })));
  }
  if (only.includes("js")) rows.push(...(await jsRows()));
  if (rows.some(({ check }) => check?.ok === false)) process.exitCode = 1;
  if (json) {
    const roofline = kernels === null ? null : { peakFlops: kernels.peak.flops, readBandwidth: kernels.peak.readBytesPerSecond };
    printJson({ node: process.version, machine: kernels?.machine ?? null, roofline, rows });
    return;
  }
  if (kernels !== null) {
    const { machine, peak } = kernels;
    const peaks = `${numberText(peak.flops / 1e9)} GFLOP/s f32, ${numberText(peak.readBytesPerSecond / 1e9)} GB/s read`;
    printLine(`${machine.name}, ${machine.isa}, ${machine.threads} of ${machine.cores} cores; measured: ${peaks}\n`);
  }
  printRows(rows);
}

async function measureGpu(gpu: GpuFound, { json, repeats }: BenchArguments): Promise<void> {
  const { published } = gpu;
  const roofline: Roofline = {
    // The f32 kernels do not use the tensor cores; their peak is not in the table.
    flops: { f32: null, f16: published === null ? null : { name: `mma.sync peak, published`, value: published.tensorFlops } },
    bandwidth: published === null ? null : { name: "memory bandwidth, published", value: published.bandwidth },
  };
  const rows = await modelRows({ device: gpu.id, repeats, roofline });
  if (json) {
    printJson({ node: process.version, device: gpu, rows });
    return;
  }
  const limits = published === null ? "its limits are not in bench/cuda/device-classes.ts, so there are no shares" : `limits published for ${published.name}`;
  printLine(`${gpu.name}, ${gpu.arch}, ${gpu.sms} SMs, driver for CUDA ${gpu.driver}; ${limits}\n`);
  printRows(rows);
}

async function model({ json, quick, layers, tier }: BenchArguments): Promise<void> {
  const report = await modelledReport({ tier, layers, quick });
  if (json) printJson({ node: process.version, modelled: true, aim, ...report });
  else printModelled(report);
}

async function traffic({ json }: BenchArguments): Promise<void> {
  const rows = await countTraffic();
  if (json) printJson({ node: process.version, traffic: rows });
  else printTraffic(rows);
}

async function main(): Promise<void> {
  const given = readArguments();
  if (given.modelled) await model(given);
  else if (given.traffic) await traffic(given);
  else if (given.device === "cpu") await measureCpu(given);
  else await measureGpu(findGpu(given.device), given);
}

main().catch((error: unknown) => {
  process.stderr.write(`error: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
