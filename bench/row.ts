// One figure of the bench with what it is to be judged by.
import type { Spread } from "../dist/workload/statistics.js";

export interface BenchRow {
  group: "kernels" | "model" | "js";
  name: string;
  unit: string;
  /** Median with min..max over repeats. */
  value: Spread;
  /** What the figure stands beside: a roofline, or the cheapest thing that could do the same. In `unit`. */
  baseline: { name: string; value: number } | null;
  /** value / baseline. */
  ratio: number | null;
  /** What was checked in the same run, and how. */
  check: string | null;
}

export function makeRow(row: Omit<BenchRow, "ratio" | "check"> & { check?: string | null }): BenchRow {
  const { baseline, value } = row;
  return { ...row, check: row.check ?? null, ratio: baseline === null || baseline.value === 0 ? null : value.median / baseline.value };
}

/** Progress of the bench: on stderr, for stdout belongs to the figures. */
export function say(text: string): void {
  process.stderr.write(`${text}\n`);
}
