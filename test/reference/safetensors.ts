// A reader of safetensors for the tests: trusts its files, widens everything to float64.

import { readFileSync } from "node:fs";

import { bf16ToNumber, f16ToNumber } from "./half.js";

export interface ReferenceTensor {
  shape: number[];
  /** Row-major, widened exactly. */
  values: Float64Array;
}

/** A tensor as it lies in the file. */
export interface RawTensor {
  dtype: string;
  shape: number[];
  bytes: Uint8Array;
}

export function readRawSafetensors(path: string): Map<string, RawTensor> {
  const file = readFileSync(path);
  const headerBytes = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString("utf8", 8, 8 + headerBytes)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const base = 8 + headerBytes;
  const tensors = new Map<string, RawTensor>();
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const [begin, end] = entry.data_offsets;
    tensors.set(name, { dtype: entry.dtype, shape: entry.shape, bytes: file.subarray(base + begin, base + end) });
  }
  return tensors;
}

export function widen(tensor: RawTensor): ReferenceTensor {
  const { bytes, dtype, shape } = tensor;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = shape.reduce((product, extent) => product * extent, 1);
  const values = new Float64Array(size);
  for (let i = 0; i < size; ++i) {
    if (dtype === "F32") values[i] = view.getFloat32(4 * i, true);
    else if (dtype === "F16") values[i] = f16ToNumber(view.getUint16(2 * i, true));
    else if (dtype === "BF16") values[i] = bf16ToNumber(view.getUint16(2 * i, true));
    else throw new Error(`the reference reads F32, F16 and BF16, not ${dtype}`);
  }
  return { shape, values };
}

export function readSafetensors(path: string): Map<string, ReferenceTensor> {
  return new Map([...readRawSafetensors(path)].map(([name, raw]) => [name, widen(raw)]));
}
