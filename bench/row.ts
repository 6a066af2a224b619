// One figure of the bench with what it is to be judged by.
import { spread as rangeOf } from "../dist/workload/statistics.js";

/** Few runs give their whole range, the native loop's many runs the distance of their quartiles, as a share of the median. */
export type FigureSpread = { of: "range"; min: number; max: number } | { of: "quartiles"; share: number };

export interface BenchRow {
  group: "kernels" | "model" | "js";
  name: string;
  unit: string;
  /** Median over repeats. */
  value: number;
  spread: FigureSpread | null;
  /** What the figure stands beside: a roofline, or the cheapest thing that could do the same. In `unit`. */
  baseline: { name: string; value: number } | null;
  /** value / baseline. */
  ratio: number | null;
  /** What was checked in the same run; null: nothing. */
  check: { ok: boolean; text: string } | null;
}

export function makeRow(row: Omit<BenchRow, "ratio" | "check"> & { check?: BenchRow["check"] }): BenchRow {
  const { baseline, value } = row;
  return { ...row, check: row.check ?? null, ratio: baseline === null || baseline.value === 0 ? null : value / baseline.value };
}

/** Median and range of some runs. */
export function figureOf(values: readonly number[]): Pick<BenchRow, "value" | "spread"> {
  const found = rangeOf(values);
  if (found === null) throw new Error("a figure needs at least one run");
  return { value: found.median, spread: { of: "range", min: found.min, max: found.max } };
}

/** Progress of the bench: on stderr, for stdout belongs to the figures. */
export function say(text: string): void {
  process.stderr.write(`${text}\n`);
}
