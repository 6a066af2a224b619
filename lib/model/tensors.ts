// The tensors of a checkpoint against those that the model needs.
import { SplitwiserError } from "../errors.js";
import type { NativeDType, NativeModel, NativeTensor } from "../native.js";
import type { Family, TensorSpec } from "./config-fields.js";
import type { Checkpoint } from "./shards.js";

const dtypes: Readonly<Record<string, NativeDType>> = { F32: "f32", F16: "f16", BF16: "bf16" };

export interface CheckedTensors {
  tensors: NativeTensor[];
  /** Type of most matrix elements. */
  storedDtype: NativeDType;
  parameters: number;
}

/**
 * Throws `CORRUPT_FILE` when a tensor is missing, there twice or of another shape than config.json says,
 * `UNSUPPORTED_MODEL` for a tensor that the family does not know and a type that is not computed with.
 */
export function checkTensors(checkpoint: Checkpoint, family: Family, model: NativeModel): CheckedTensors {
  const needed = new Map(family.tensors(model).map((spec) => [spec.name, spec]));
  const found = new Map<string, NativeTensor>();
  for (const { name, dtype, shape, file, offset, bytes } of checkpoint.tensors) {
    const canonical = family.canonicalName(name, model);
    if (canonical === null) continue;
    const path = checkpoint.files[file]?.path ?? "";
    const spec = needed.get(canonical);
    if (!spec) {
      throw new SplitwiserError(
        "UNSUPPORTED_MODEL",
        `${path}: tensor "${name}" ${shapeText(shape)} is no part of the ${family.modelType} model that config.json describes; ` +
          "leaving it out would change the output",
      );
    }
    if (!sameShape(shape, spec.shape)) {
      throw new SplitwiserError(
        "CORRUPT_FILE",
        `${path}: tensor "${name}": config.json makes its shape ${shapeText(spec.shape)}, the file has ${shapeText(shape)}`,
      );
    }
    const stored = Object.hasOwn(dtypes, dtype) ? dtypes[dtype] : undefined;
    if (stored === undefined) {
      throw new SplitwiserError(
        "UNSUPPORTED_MODEL",
        `${path}: tensor "${name}": expected F32, F16 or BF16, it is stored as ${dtype}`,
      );
    }
    if (found.has(canonical)) {
      throw new SplitwiserError("CORRUPT_FILE", `${path}: tensor "${canonical}" is there twice`);
    }
    found.set(canonical, { name: canonical, dtype: stored, shape, file, offset, bytes });
  }
  for (const spec of needed.values()) {
    if (!found.has(spec.name)) throw missing(spec, checkpoint);
  }
  const tensors = [...found.values()];
  return { tensors, storedDtype: mostOf(tensors), parameters: tensors.reduce((sum, { shape }) => sum + elements(shape), 0) };
}

export function elements(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

function missing(spec: TensorSpec, checkpoint: Checkpoint): SplitwiserError {
  const files = checkpoint.files.map((file) => file.path).join(", ");
  return new SplitwiserError(
    "CORRUPT_FILE",
    `tensor "${spec.name}" ${shapeText(spec.shape)} is missing in ${files}: is config.json that of these weights?`,
  );
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, i) => size === b[i]);
}

function shapeText(shape: readonly number[]): string {
  return `[${shape.join(", ")}]`;
}

function mostOf(tensors: readonly NativeTensor[]): NativeDType {
  const counts: Record<NativeDType, number> = { f32: 0, f16: 0, bf16: 0 };
  for (const { dtype, shape } of tensors) if (shape.length === 2) counts[dtype] += elements(shape);
  const order: NativeDType[] = ["f32", "f16", "bf16"];
  return order.reduce((best, dtype) => (counts[dtype] > counts[best] ? dtype : best));
}
