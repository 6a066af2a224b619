// Paths and small helpers of the tests of lib/.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import type { Test } from "tap";

import { SplitwiserError, type ErrorCode } from "../../dist/errors.js";

export const fixture = (name: string): string => fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url));

export interface Case {
  kind: "safetensors" | "config" | "index";
  path: string;
  what: string;
  /** null: either is right. */
  valid: boolean | null;
}

export const malformed = (kind: Case["kind"]): Case[] =>
  (JSON.parse(readFileSync(fixture("malformed/cases.json"), "utf8")) as { cases: Case[] }).cases.filter((one) => one.kind === kind);

/** The error that `work` ends with; the test fails if it is another one. */
export async function errorOf(t: Test, work: () => unknown, code: ErrorCode, words?: RegExp): Promise<SplitwiserError | undefined> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof SplitwiserError)) {
      t.fail(`expected a SplitwiserError, got ${String(error)}`);
      return undefined;
    }
    t.equal(error.code, code, error.message);
    if (words) t.match(error.message, words);
    return error;
  }
  t.fail(`expected ${code}, nothing was thrown`);
  return undefined;
}

export interface FakeTensor {
  dtype: string;
  shape: number[];
}

/** A safetensors file of zeros. */
export function safetensorsOf(tensors: Readonly<Record<string, FakeTensor>>): Buffer {
  const bytes: Readonly<Record<string, number>> = { F32: 4, F16: 2, BF16: 2, I8: 1, F64: 8 };
  let at = 0;
  const header: Record<string, unknown> = {};
  for (const [name, { dtype, shape }] of Object.entries(tensors)) {
    const size = shape.reduce((product, n) => product * n, 1) * (bytes[dtype] ?? 1);
    header[name] = { dtype, shape, data_offsets: [at, at + size] };
    at += size;
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, Buffer.alloc(at)]);
}

export function writeFolder(folder: string, files: Readonly<Record<string, string | Buffer>>): string {
  mkdirSync(folder, { recursive: true });
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
  return folder;
}
