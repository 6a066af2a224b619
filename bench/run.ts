// `npm run bench -- [--json] [--quick] [--only kernels,model,js] [--repeats 5]`: every figure beside its baseline, all taken in this run.
import { parseArgs } from "node:util";
import { colorsOf, numberText, printJson, printLine, tableText } from "../dist/cli/terminal.js";
import { jsRows } from "./js.js";
import { kernelFigures } from "./kernels.js";
import { modelRows } from "./model.js";
import type { BenchRow, FigureSpread } from "./row.js";

const groups = ["kernels", "model", "js"] as const;

interface BenchArguments {
  json: boolean;
  /** Short kernel runs: whether it works, not how fast. */
  quick: boolean;
  only: readonly string[];
  repeats: number;
}

function readArguments(): BenchArguments {
  const { values } = parseArgs({
    options: {
      json: { type: "boolean", default: false },
      quick: { type: "boolean", default: false },
      only: { type: "string" },
      repeats: { type: "string", default: "5" },
    },
  });
  const only = values.only?.split(",") ?? groups;
  const unknown = only.find((word) => !groups.some((group) => group === word));
  if (unknown !== undefined) throw new Error(`--only: expected a list of ${groups.join(",")}, got "${unknown}"`);
  const repeats = Number(values.repeats);
  if (!Number.isInteger(repeats) || repeats < 1) throw new Error(`--repeats: expected an integer of at least 1, got "${values.repeats}"`);
  return { json: values.json, quick: values.quick, only, repeats };
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

async function main(): Promise<void> {
  const { json, quick, only, repeats } = readArguments();
  const rows: BenchRow[] = [];
  // The rooflines come from the native loop, so the model's rows need it as well.
  const kernels = only.includes("kernels") || only.includes("model") ? await kernelFigures({ quick }) : null;
  if (kernels !== null && only.includes("kernels")) rows.push(...kernels.rows);
  if (kernels !== null && only.includes("model")) rows.push(...(await modelRows({ repeats, roofline: kernels.roofline })));
  if (only.includes("js")) rows.push(...(await jsRows()));
  if (rows.some(({ check }) => check?.ok === false)) process.exitCode = 1;
  if (json) {
    printJson({ node: process.version, machine: kernels?.machine ?? null, roofline: kernels?.roofline ?? null, rows });
    return;
  }
  if (kernels !== null) {
    const { machine, roofline } = kernels;
    const peaks = `${numberText(roofline.peakFlops / 1e9)} GFLOP/s f32, ${numberText(roofline.readBandwidth / 1e9)} GB/s read`;
    printLine(`${machine.name}, ${machine.isa}, ${machine.threads} of ${machine.cores} cores; measured: ${peaks}\n`);
  }
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

main().catch((error: unknown) => {
  process.stderr.write(`error: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
