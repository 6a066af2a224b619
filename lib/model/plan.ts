// What a model will take of the memory, before anything is loaded. Used by load and by `inspect`.
import { SplitwiserError } from "../errors.js";
import type { NativeDType, NativeModel } from "../native.js";
import type { MemoryPlan } from "../types.js";
import { invalidOption } from "../validate.js";
import type { TensorSpec } from "./config-fields.js";
import { elements } from "./tensors.js";

const lanes = 2;
const floatBytes = 4;
/** Rows of logits that a lane holds at a time (native/engine). */
const maxLogitRows = 64;

export interface PlanInput {
  device: "cpu" | "cuda";
  model: NativeModel;
  tensors: readonly TensorSpec[];
  storage: NativeDType;
  kvType: NativeDType;
  pageSize: number;
  maxSequences: number;
  maxBatchTokens: number;
  maxModelLen: number | undefined;
  kvCacheBytes: number | undefined;
  availableBytes: number;
}

export function bytesOf(type: NativeDType): number {
  return type === "f32" ? 4 : 2;
}

/**
 * Throws `OUT_OF_MEMORY` with the numbers and the option to change, `INVALID_OPTION` for a `maxModelLen` beyond the model's positions.
 */
export function planMemory(input: PlanInput): MemoryPlan {
  const { model, pageSize, availableBytes } = input;
  if (input.maxModelLen !== undefined && input.maxModelLen > model.maxPositions) {
    throw invalidOption("maxModelLen", `at most ${model.maxPositions}, the positions that the model was made for`, input.maxModelLen);
  }
  const weightBytes = weightBytesOf(input);
  const activationBytes = activationBytesOf(input);
  const left = availableBytes - weightBytes - activationBytes;
  if (left <= 0) {
    const smaller = input.storage === "f32" ? 'dtype: "f16" halves the weights, ' : "";
    throw outOfMemory(
      `the weights take ${mib(weightBytes)} and the workspaces ${mib(activationBytes)}, this process may still use ` +
        `${mib(availableBytes)}: ${smaller}a lower maxBatchTokens shrinks the workspaces, or give the process more memory`,
    );
  }
  const pageBytes = 2 * model.layers * model.kvHeads * cachedHeadDim(input) * pageSize * bytesOf(input.kvType);
  const pages = pagesOf(input, left, pageBytes);
  const held = pages * pageSize;
  if (input.maxModelLen !== undefined && held < input.maxModelLen) {
    const needed = Math.ceil(input.maxModelLen / pageSize) * pageBytes;
    throw outOfMemory(
      `maxModelLen ${input.maxModelLen} needs ${mib(needed)} of KV cache, there is room for ${mib(pages * pageBytes)} (${held} tokens): ` +
        "lower maxModelLen, raise kvCacheBytes, or take a 16-bit kvCacheType",
    );
  }
  const maxModelLen = Math.min(input.maxModelLen ?? model.maxPositions, held);
  const kvBytes = pages * pageBytes;
  return {
    weightBytes,
    kvBytes,
    activationBytes,
    totalBytes: weightBytes + kvBytes + activationBytes,
    availableBytes,
    pageSize,
    pageBytes,
    pages,
    maxModelLen,
    fullSequences: Math.floor(pages / Math.ceil(maxModelLen / pageSize)),
  };
}

/** Matrices in the storage type, vectors as float32. */
function weightBytesOf({ tensors, storage }: PlanInput): number {
  return tensors.reduce((sum, { shape }) => sum + elements(shape) * (shape.length === 2 ? bytesOf(storage) : floatBytes), 0);
}

/** Keys and values of a head are padded to the width of a kernel on CUDA (kernels/attention.hpp). */
function cachedHeadDim({ device, model }: PlanInput): number {
  if (device === "cpu") return model.headDim;
  return [64, 80, 96, 128, 256].find((width) => model.headDim <= width) ?? model.headDim;
}

/** Rows of a step, float32 on the CPU, in the weights' type on CUDA: stream, normed, q|k|v, attended, expanded, embedded; and logits of the rows that are sampled. */
function activationBytesOf({ device, model, storage, maxBatchTokens }: PlanInput): number {
  const attention = model.heads * model.headDim;
  const qkv = (model.heads + 2 * model.kvHeads) * model.headDim;
  const row = 2 * model.hidden + qkv + attention + model.ffn + model.embedDim;
  const logitRows = Math.min(maxBatchTokens, maxLogitRows);
  const rowBytes = row * (device === "cpu" ? floatBytes : bytesOf(storage));
  return lanes * (maxBatchTokens * rowBytes + logitRows * model.vocab * floatBytes);
}

function pagesOf(input: PlanInput, left: number, pageBytes: number): number {
  const { kvCacheBytes, pageSize, maxSequences, model } = input;
  if (kvCacheBytes !== undefined) {
    if (kvCacheBytes > left) {
      throw outOfMemory(
        `kvCacheBytes asks for ${mib(kvCacheBytes)}, weights and workspaces leave ${mib(left)} of the ${mib(input.availableBytes)} ` +
          "that this process may still use: lower kvCacheBytes",
      );
    }
    if (kvCacheBytes < pageBytes) {
      throw outOfMemory(`kvCacheBytes ${kvCacheBytes} holds no page: one page of ${pageSize} tokens takes ${pageBytes} bytes`);
    }
    return Math.floor(kvCacheBytes / pageBytes);
  }
  const useful = maxSequences * Math.ceil((input.maxModelLen ?? model.maxPositions) / pageSize);
  const given = left * (input.device === "cpu" ? 0.5 : 0.9);
  const pages = Math.min(Math.floor(given / pageBytes), useful);
  if (pages < 1) {
    throw outOfMemory(
      `the KV cache may take ${mib(given)} of what weights and workspaces leave, and one page of ${pageSize} tokens takes ` +
        `${mib(pageBytes)}: set kvCacheBytes, lower pageSize, or give the process more memory`,
    );
  }
  return pages;
}

function outOfMemory(message: string): SplitwiserError {
  return new SplitwiserError("OUT_OF_MEMORY", message);
}

function mib(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}
