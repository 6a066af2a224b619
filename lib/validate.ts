// One helper words every bad-argument error: name, expected, actual.
import { SplitwiserError } from "./errors.js";

export function invalidOption(name: string, expected: string, actual: unknown, remedy?: string): SplitwiserError {
  const tail = remedy === undefined ? "" : `: ${remedy}`;
  return new SplitwiserError("INVALID_OPTION", `${name}: expected ${expected}, got ${describe(actual)}${tail}`);
}

/** A value in a few words. */
export function describe(value: unknown): string {
  switch (typeof value) {
    case "string":
      return value === "" ? "an empty string" : JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}...` : value);
    case "bigint":
      return `the BigInt ${value}n`;
    case "function":
      return "a function";
    case "symbol":
      return "a symbol";
    case "object": {
      if (value === null) return "null";
      if (Array.isArray(value)) return value.length === 0 ? "an empty array" : `an array of ${value.length}`;
      const name: unknown = Object.getPrototypeOf(value)?.constructor?.name;
      return typeof name === "string" && name !== "Object" && name !== "" ? `a ${name}` : "an object";
    }
    default:
      return String(value);
  }
}

export type Fields = Readonly<Record<string, unknown>>;

/** Options as fields. Refuses what is not an object, and names that nobody knows, with the nearest known one. */
export function checkFields(where: string, options: unknown, known: readonly string[]): Fields {
  if (options === undefined) return {};
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw invalidOption(where, "an object", options);
  }
  const fields: Record<string, unknown> = Object.create(null);
  for (const [name, value] of Object.entries(options)) {
    if (!known.includes(name)) {
      const near = nearestName(name, known);
      const remedy = near === undefined ? `known are ${known.join(", ")}` : `did you mean ${near}?`;
      throw new SplitwiserError("INVALID_OPTION", `${where}: unknown option ${describe(name)}: ${remedy}`);
    }
    fields[name] = value;
  }
  return fields;
}

/** The known name that the fewest edits turn into `name`; none where that would be guessing. */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  const limit = Math.max(1, Math.floor(name.length / 3));
  let best: string | undefined;
  let bestDistance = limit + 1;
  for (const candidate of known) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

function editDistance(a: string, b: string): number {
  // One row of the usual table. Names that are far apart in length are far apart.
  if (Math.abs(a.length - b.length) > 8) return Infinity;
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substituted = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(substituted, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? Infinity;
}

export interface Range {
  min?: number;
  max?: number;
  /** Bounds that do not belong to the range. */
  above?: number;
  below?: number;
}

function inRange(value: number, range: Range): boolean {
  return (
    value >= (range.min ?? -Infinity) &&
    value <= (range.max ?? Infinity) &&
    value > (range.above ?? -Infinity) &&
    value < (range.below ?? Infinity)
  );
}

function rangeText(range: Range): string {
  if (range.min !== undefined && range.max !== undefined) return ` from ${range.min} to ${range.max}`;
  const parts: string[] = [];
  if (range.min !== undefined) parts.push(`of at least ${range.min}`);
  if (range.above !== undefined) parts.push(`above ${range.above}`);
  if (range.max !== undefined) parts.push(`of at most ${range.max}`);
  if (range.below !== undefined) parts.push(`below ${range.below}`);
  return parts.length === 0 ? "" : ` ${parts.join(" and ")}`;
}

export function checkInteger(name: string, value: unknown, range: Range): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || !inRange(value, range)) {
    throw invalidOption(name, `an integer${rangeText(range)}`, value);
  }
  return value;
}

export function checkNumber(name: string, value: unknown, range: Range): number {
  if (typeof value !== "number" || !Number.isFinite(value) || !inRange(value, range)) {
    throw invalidOption(name, `a finite number${rangeText(range)}`, value);
  }
  return value;
}

export function checkBoolean(name: string, value: unknown): boolean {
  if (typeof value !== "boolean") throw invalidOption(name, "true or false", value);
  return value;
}

export function checkWord<const Word extends string>(name: string, value: unknown, words: readonly Word[]): Word {
  const found = words.find((word) => word === value);
  if (found === undefined) {
    const near = typeof value === "string" ? nearestName(value, words) : undefined;
    throw invalidOption(name, oneOf(words), value, near === undefined ? undefined : `did you mean "${near}"?`);
  }
  return found;
}

export function oneOf(words: readonly string[]): string {
  const quoted = words.map((word) => `"${word}"`);
  const last = quoted.pop() ?? "";
  return quoted.length === 0 ? last : `${quoted.join(", ")} or ${last}`;
}

export function checkFunction<F>(name: string, value: unknown): F {
  if (typeof value !== "function") throw invalidOption(name, "a function", value);
  return value as F;
}

export function checkSignal(name: string, value: unknown): AbortSignal {
  if (!(value instanceof AbortSignal)) throw invalidOption(name, "an AbortSignal", value);
  return value;
}

/** Takes a field if it is there. undefined is as good as left out. */
export function optional<T>(value: unknown, check: (value: unknown) => T): T | undefined {
  return value === undefined ? undefined : check(value);
}
