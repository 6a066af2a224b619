// Figures of an arm over all its rounds, and the lines of timings.csv.

import type { RequestTiming } from "../types.js";
import type { Arm, ArmPrompt, ArmRun } from "./arms.js";
import type { CsvValue } from "./csv.js";
import { percentile, spread, type Spread } from "./statistics.js";

export interface Quantiles {
  p50: number | null;
  p99: number | null;
  max: number | null;
}

/** Times in milliseconds over all requests of all rounds; percentiles by nearest rank. */
export interface ArmSummary {
  schedule: Arm;
  ttftMs: Quantiles;
  /** Over the gaps between tokens of all requests. */
  itlMs: Quantiles;
  e2eMs: Quantiles;
  /** Prompt tokens over the wall time of a round: median with min..max over rounds. */
  promptTokensPerSecond: Spread | null;
  outputTokensPerSecond: Spread | null;
  /** Wall time of the base arm over this arm's in the same round (above 1: faster): median with min..max over rounds. */
  ratio: Spread | null;
}

function quantiles(values: readonly (number | null)[]): Quantiles {
  const known = values.filter((value) => value !== null);
  return { p50: percentile(known, 50), p99: percentile(known, 99), max: percentile(known, 100) };
}

/** `base`: the arm that ratios are taken to. */
export function summarizeArm(runs: readonly ArmRun[], arm: Arm, base: Arm): ArmSummary {
  const own = runs.filter((run) => run.arm === arm);
  const timings = own.flatMap((run) => run.completions.map((completion) => completion.timing));
  const rate = (count: (run: ArmRun) => number): Spread | null => spread(own.map((run) => (1000 * count(run)) / run.wallMs));
  const ratios = own.flatMap((run) => {
    const other = runs.find((candidate) => candidate.arm === base && candidate.round === run.round);
    return other === undefined ? [] : [other.wallMs / run.wallMs];
  });
  return {
    schedule: arm,
    ttftMs: quantiles(timings.map((timing) => timing.ttftMs)),
    itlMs: quantiles(timings.flatMap((timing) => timing.itlMs)),
    e2eMs: quantiles(timings.map((timing) => timing.e2eMs)),
    promptTokensPerSecond: rate((run) => run.completions.reduce((sum, { promptTokens }) => sum + promptTokens, 0)),
    outputTokensPerSecond: rate((run) => run.completions.reduce((sum, { tokenIds }) => sum + tokenIds.length, 0)),
    ratio: spread(ratios),
  };
}

const timingFields = [
  "submittedMs",
  "queueMs",
  "prefillMs",
  "ttftMs",
  "decodeMs",
  "tpotMs",
  "e2eMs",
  "prefillTokens",
  "decodeTokens",
  "preemptions",
] as const satisfies readonly (keyof RequestTiming)[];

/** One line a request, arm and round, below a header. `itlMs` and `phases` are lists within a field, separated by blanks. */
export function timingRows(runs: readonly ArmRun[], prompts: readonly ArmPrompt[]): CsvValue[][] {
  const header = ["arm", "round", "report", "promptTokens", "cachedTokens", "outputTokens", "finishReason", ...timingFields, "itlMs", "phases"];
  const rows: CsvValue[][] = [header];
  for (const { arm, round, completions } of runs) {
    for (const [i, completion] of completions.entries()) {
      const { timing } = completion;
      rows.push([
        arm,
        round,
        prompts[i]?.report ?? null,
        completion.promptTokens,
        completion.cachedTokens,
        completion.tokenIds.length,
        completion.finishReason,
        ...timingFields.map((field) => short(timing[field])),
        timing.itlMs.map(short).join(" "),
        timing.phases.map(({ phase, lane, startMs, endMs, tokens }) => `${phase}:${lane ?? "-"}:${short(startMs)}:${short(endMs)}:${tokens}`).join(" "),
      ]);
    }
  }
  return rows;
}

/** Microseconds are kept: below them the clock says nothing. */
function short<T extends number | null>(value: T): number | T {
  return value === null ? value : Math.round(value * 1000) / 1000;
}
