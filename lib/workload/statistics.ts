// The few statistics that tables show. All take values in any order and give null for none.

const ascending = (values: readonly number[]): number[] => [...values].sort((a, b) => a - b);

/** Nearest rank: the smallest value that at least `percent` of 100 of the values do not exceed; always one of the values. */
export function percentile(values: readonly number[], percent: number): number | null {
  const rank = Math.max(1, Math.ceil((percent / 100) * values.length));
  return ascending(values)[rank - 1] ?? null;
}

/** The middle value; between the two middle ones for an even count. */
export function median(values: readonly number[]): number | null {
  const sorted = ascending(values);
  const upper = sorted[Math.floor(sorted.length / 2)];
  const lower = sorted[Math.floor((sorted.length - 1) / 2)];
  return upper === undefined || lower === undefined ? null : (lower + upper) / 2;
}

export function mean(values: readonly number[]): number | null {
  return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Median with the whole range (not quartiles: a handful of rounds has none worth the name). */
export interface Spread {
  median: number;
  min: number;
  max: number;
}

export function spread(values: readonly number[]): Spread | null {
  const sorted = ascending(values);
  const middle = median(sorted);
  const min = sorted[0];
  const max = sorted.at(-1);
  return middle === null || min === undefined || max === undefined ? null : { median: middle, min, max };
}
