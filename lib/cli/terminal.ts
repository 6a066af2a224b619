// Everything that commands print goes through here: tables, colours, numbers. Colour only on a terminal.

import Table from "cli-table3";
import pc from "picocolors";

type Stream = NodeJS.WriteStream | NodeJS.WritableStream;
export type Colors = ReturnType<typeof pc.createColors>;

export function isTerminal(stream: Stream): boolean {
  return "isTTY" in stream && stream.isTTY === true;
}

/** Colours for a stream: none unless it is a terminal; NO_COLOR is obeyed. */
export function colorsOf(stream: Stream): Colors {
  return pc.createColors(isTerminal(stream) && pc.isColorSupported);
}

export interface Column {
  head: string;
  /** Default: "right". */
  align?: "left" | "right";
}

/** A table without frame: a head line, then one line a row. */
export function tableText(columns: readonly Column[], rows: readonly (readonly string[])[], colors: Colors): string {
  const none = { top: "", "top-mid": "", "top-left": "", "top-right": "", bottom: "", "bottom-mid": "", "bottom-left": "", "bottom-right": "" };
  const table = new Table({
    chars: { ...none, left: "", "left-mid": "", mid: "", "mid-mid": "", right: "", "right-mid": "", middle: "  " },
    style: { head: [], border: [], "padding-left": 0, "padding-right": 0 },
    colAligns: columns.map(({ align }) => align ?? "right"),
  });
  table.push(columns.map(({ head }) => colors.bold(head)), ...rows.map((row) => [...row]));
  return table
    .toString()
    .split("\n")
    .map((line) => line.trimEnd())
    .join("\n");
}

/** Pairs of a name and a value, one a line. */
export function listText(pairs: readonly (readonly [string, string])[], colors: Colors): string {
  const width = Math.max(...pairs.map(([name]) => name.length));
  return pairs.map(([name, value]) => `${colors.dim(name.padEnd(width))}  ${value}`).join("\n");
}

export function printLine(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** The only thing that a command prints with --json. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, jsonValue, 2)}\n`);
}

/** Infinity has no JSON; null would say "none". */
function jsonValue(_key: string, value: unknown): unknown {
  if (typeof value === "bigint") return value.toString();
  if (typeof value === "number" && !Number.isFinite(value)) return String(value);
  return ArrayBuffer.isView(value) && !(value instanceof DataView) ? Array.from(value as unknown as ArrayLike<number>) : value;
}

/** Three digits or so: 0.123, 1.23, 12.3, 123, 1234. Null: "-". */
export function numberText(value: number | null | undefined): string {
  if (value === null || value === undefined) return "-";
  const size = Math.abs(value);
  return value.toFixed(size >= 100 || value === 0 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3);
}

/** Bytes with a binary unit: "9.03 MiB". */
export function bytesText(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return unit === 0 ? `${value} B` : `${numberText(value)} ${units[unit] ?? ""}`;
}
