// Model folders made on the spot: a fixture in another storage type, with files missing or damaged.

import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Test } from "tap";

import { numberToBf16, numberToF16 } from "../reference/half.js";
import { readRawSafetensors, widen, type RawTensor } from "../reference/safetensors.js";

export type StorageType = "f32" | "f16" | "bf16";

/** A fresh folder that goes when the test ends. */
export function temporaryFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), "splitwiser-test-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Writes a safetensors file: header padded to 8 bytes, tensors one after another. */
export function writeSafetensors(path: string, tensors: Map<string, RawTensor>): void {
  let offset = 0;
  const header: Record<string, unknown> = {};
  for (const [name, tensor] of tensors) {
    header[name] = {
      dtype: tensor.dtype,
      shape: tensor.shape,
      data_offsets: [offset, offset + tensor.bytes.byteLength],
    };
    offset += tensor.bytes.byteLength;
  }
  let text = JSON.stringify(header);
  text += " ".repeat((8 - (text.length % 8)) % 8);
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(text.length));
  writeFileSync(path, Buffer.concat([size, Buffer.from(text), ...[...tensors.values()].map((one) => one.bytes)]));
}

/** Values in a storage type, rounded to nearest. */
export function encodeTensor(values: ArrayLike<number>, shape: number[], storage: StorageType): RawTensor {
  if (storage === "f32") {
    return { dtype: "F32", shape, bytes: new Uint8Array(Float32Array.from(values).buffer) };
  }
  const round = storage === "f16" ? numberToF16 : numberToBf16;
  const bits = Uint16Array.from({ length: values.length }, (_, i) => round(values[i] as number));
  return { dtype: storage === "f16" ? "F16" : "BF16", shape, bytes: new Uint8Array(bits.buffer) };
}

const torchNames = { f32: "float32", f16: "float16", bf16: "bfloat16" } as const;

/** A JSON file changed in place. */
export function editJson(path: string, change: Record<string, unknown>): void {
  const json = JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
  writeFileSync(path, JSON.stringify({ ...json, ...change }));
}

/** A copy of a model folder, free to be damaged. */
export function copyModel(t: Test, source: string): string {
  const folder = temporaryFolder(t);
  cpSync(source, folder, { recursive: true });
  return folder;
}

function rewriteWeights(t: Test, source: string, storage: StorageType, encode: (raw: RawTensor) => RawTensor): string {
  const folder = copyModel(t, source);
  const path = join(folder, "model.safetensors");
  const tensors = [...readRawSafetensors(path)].map(([name, raw]) => [name, encode(raw)] as const);
  writeSafetensors(path, new Map(tensors));
  editJson(join(folder, "config.json"), { torch_dtype: torchNames[storage] });
  return folder;
}

/** The same model with its weights in another storage type (widened exactly, or rounded). */
export function convertModel(t: Test, source: string, storage: StorageType): string {
  return rewriteWeights(t, source, storage, (raw) => encodeTensor(widen(raw).values, raw.shape, storage));
}

/** The same model in float32 files, its matrices (not biases and norms) rounded to a storage type: what loading with `dtype` shall compute. */
export function roundMatrices(t: Test, source: string, storage: StorageType): string {
  return rewriteWeights(t, source, "f32", (raw) => {
    const rounded = raw.shape.length < 2 ? raw : encodeTensor(widen(raw).values, raw.shape, storage);
    return encodeTensor(widen(rounded).values, raw.shape, "f32");
  });
}
