// What the radiology experiment prints and writes.

import { mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { messageOf, SplitwiserError } from "../errors.js";
import { csvText } from "../workload/csv.js";
import type { Spread } from "../workload/statistics.js";
import { timingRows, type ArmSummary, type Quantiles } from "../workload/summary.js";
import type { ExperimentResult, ExperimentSummary } from "./experiment-run.js";
import { colorsOf, listText, numberText, printLine, tableText, type Column } from "./terminal.js";

/** Made before anything runs, so that a folder that cannot be written costs nobody a run. */
export async function makeFolder(out: string): Promise<string> {
  try {
    await mkdir(out, { recursive: true });
  } catch (cause) {
    throw new SplitwiserError("INVALID_OPTION", `expected a folder that can be written at ${out}: ${messageOf(cause)}; choose another --out`, { cause });
  }
  return resolve(out);
}

/** Writes all files and gives their names. */
export async function writeExperiment(result: ExperimentResult, folder: string): Promise<string[]> {
  const lines = (texts: string[]): string => csvText(texts.map((text) => [text]));
  const files: Record<string, string> = {
    "finding.csv": lines(result.findings),
    "summary_ref.csv": lines(result.references),
    "summary_gen.csv": lines(result.generated),
    "metrics.json": `${JSON.stringify(result.summary, null, 2)}\n`,
    "timings.csv": csvText(timingRows(result.runs, result.prompts)),
  };
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
  await result.saveTimeline(join(folder, "timeline.json"));
  return [...Object.keys(files), "timeline.json"];
}

const percent = (share: number | null): string => (share === null ? "-" : `${numberText(100 * share)} %`);
const pair = ({ p50, p99 }: Quantiles): string => `${numberText(p50)} / ${numberText(p99)}`;
const triple = (values: Quantiles): string => `${pair(values)} / ${numberText(values.max)}`;

function ratioText(ratio: Spread | null): string {
  return ratio === null ? "-" : `${ratio.median.toFixed(2)}x (${ratio.min.toFixed(2)}..${ratio.max.toFixed(2)})`;
}

/** Milliseconds; rates and ratios are medians over rounds, in brackets the range. */
export function armTable(summaries: readonly ArmSummary[], base: string): { columns: Column[]; rows: string[][] } {
  return {
    columns: [
      { head: "schedule", align: "left" },
      { head: "TTFT p50 / p99" },
      { head: "ITL p50 / p99 / max" },
      { head: "E2E p50 / p99" },
      { head: "prompt tok/s" },
      { head: "output tok/s" },
      { head: `vs ${base}` },
    ],
    rows: summaries.map((arm) => [
      arm.schedule,
      pair(arm.ttftMs),
      triple(arm.itlMs),
      pair(arm.e2eMs),
      numberText(arm.promptTokensPerSecond?.median),
      numberText(arm.outputTokensPerSecond?.median),
      ratioText(arm.ratio),
    ]),
  };
}

export function printExperiment(summary: ExperimentSummary, folder: string, files: readonly string[]): void {
  const colors = colorsOf(process.stdout);
  const { columns, rows } = armTable(summary.arms, summary.base);
  const lengths = summary.promptLength === null ? "natural lengths" : `filled with examples up to ${summary.promptLength}`;
  const dropped = summary.dropped === 0 ? "" : `, ${summary.dropped} too long and dropped`;
  const { rouge, bleu } = summary;
  printLine(
    listText(
      [
        ["model", `${summary.model} on ${summary.device.id} (${summary.device.name}, ${summary.device.isa})`],
        ["prompts", `${summary.reports} reports${dropped}, case ${summary.case}, ${lengths}: mean ${numberText(summary.meanPromptTokens)} tokens, none padded`],
        ["outputs", `mean ${numberText(summary.meanOutputTokens)} tokens, ${percent(summary.cutShare)} cut at ${summary.maxTokens}`],
        ["runs", `${summary.batch} requests in flight, ${summary.rounds} rounds, schedules interleaved, warm-up not counted`],
      ],
      colors,
    ),
  );
  printLine(`\n${tableText(columns, rows, colors)}`);
  printLine(colors.dim("times in ms over all requests; tok/s and ratio: median over rounds (range), of the wall time of a round; above 1 is faster\n"));
  printLine(`identical tokens: ${identityText(summary)}`);
  const scores = [rouge.rouge1, rouge.rouge2, rouge.rougeL].map(({ f1 }) => f1.toFixed(3)).join(" / ");
  printLine(`ROUGE-1 / ROUGE-2 / ROUGE-L: ${scores}   BLEU: ${bleu.score.toFixed(1)}`);
  printLine(`written to ${folder}: ${files.join(", ")}`);
}

function identityText({ identicalTokens, firstDifference, arms, rounds, reports }: ExperimentSummary): string {
  const colors = colorsOf(process.stdout);
  if (identicalTokens) return `${colors.green("yes")} (${arms.length} schedules x ${rounds} rounds x ${reports} reports)`;
  const { arm, round, report, position } = firstDifference ?? { arm: "?", round: 0, report: 0, position: 0 };
  return `${colors.red("no")}: report ${report + 1} differs first at token ${position + 1} under ${arm} in round ${round}`;
}
