// `npm run bench -- [--json] [--only kernels,model,js] [--repeats 5]`: every figure beside its baseline, all taken in this run.
import { parseArgs } from "node:util";
import { colorsOf, numberText, printJson, printLine, tableText } from "../dist/cli/terminal.js";
import { jsRows } from "./js.js";
import { kernelFigures, type KernelFigures } from "./kernels.js";
import { modelRows } from "./model.js";
import type { BenchRow } from "./row.js";

const groups = ["kernels", "model", "js"] as const;

function readArguments(): { json: boolean; only: readonly string[]; repeats: number } {
  const { values } = parseArgs({
    options: { json: { type: "boolean", default: false }, only: { type: "string" }, repeats: { type: "string", default: "5" } },
  });
  const only = values.only?.split(",") ?? groups;
  const unknown = only.find((word) => !groups.some((group) => group === word));
  if (unknown !== undefined) throw new Error(`--only: expected a list of ${groups.join(",")}, got "${unknown}"`);
  const repeats = Number(values.repeats);
  if (!Number.isInteger(repeats) || repeats < 1) throw new Error(`--repeats: expected an integer of at least 1, got "${values.repeats}"`);
  return { json: values.json, only, repeats };
}

function cells({ name, unit, value, baseline, ratio, check }: BenchRow): string[] {
  const range = value.min === value.max ? "" : ` (${numberText(value.min)}..${numberText(value.max)})`;
  const beside = baseline === null ? "-" : `${baseline.name}: ${numberText(baseline.value)}`;
  // A share of a limit reads as percent, a multiple of something cheaper as a factor.
  const judged = ratio === null ? "-" : ratio <= 1 ? `${numberText(100 * ratio)} %` : `${numberText(ratio)}x`;
  return [name, `${numberText(value.median)}${range}`, unit, beside, judged, check ?? ""];
}

async function main(): Promise<void> {
  const { json, only, repeats } = readArguments();
  // The rooflines come from the native loop, so the model's rows need it as well.
  const kernels: KernelFigures | null = only.includes("kernels") || only.includes("model") ? await kernelFigures() : null;
  const rows: BenchRow[] = only.includes("kernels") ? [...(kernels?.rows ?? [])] : [];
  if (only.includes("model")) {
    rows.push(...(await modelRows({ repeats, roofline: kernels?.roofline ?? { peakFlops: null, readBandwidth: null } })));
  }
  if (only.includes("js")) rows.push(...(await jsRows()));
  if (json) {
    printJson({ node: process.version, machine: kernels?.machine ?? null, rows });
    return;
  }
  const colors = colorsOf(process.stdout);
  const columns = [
    { head: "what", align: "left" as const },
    { head: "median (min..max)" },
    { head: "unit", align: "left" as const },
    { head: "beside", align: "left" as const },
    { head: "share" },
    { head: "check", align: "left" as const },
  ];
  if (kernels !== null) {
    const { name, isa, threads, peak_flops: peak, read_bandwidth: bandwidth } = kernels.machine;
    printLine(`${name}, ${isa}, ${threads} threads: ${numberText(peak / 1e9)} GFLOP/s, ${numberText(bandwidth / 1e9)} GB/s measured\n`);
  }
  printLine(tableText(columns, rows.map(cells), colors));
}

main().catch((error: unknown) => {
  process.stderr.write(`error: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
