// Comparing logits: with a tolerance against a reference, bit for bit against another run.

import type { Test } from "tap";

export interface Tolerance {
  /** |x - reference| <= abs + |reference| * rel for every logit. */
  abs: number;
  rel: number;
  /** Bound on the standard deviation of x - reference over all logits. */
  std?: number;
}

/** The float32 row of the goldens' table, and its stricter companion. */
export const float32Tolerance: Tolerance = { abs: 1e-3, rel: 1e-4, std: 3e-5 };
/** Bounds with a 16-bit KV cache, float32 activations. */
export const f16CacheTolerance: Tolerance = { abs: 3e-2, rel: 0 };
export const bf16CacheTolerance: Tolerance = { abs: 3e-1, rel: 0 };

export interface Difference {
  worst: number;
  worstAt: number;
  /** Largest of |x - reference| / (abs + |reference| * rel): within tolerance at most 1. */
  excess: number;
  std: number;
}

export function difference(actual: ArrayLike<number>, reference: ArrayLike<number>, tolerance: Tolerance): Difference {
  let worst = 0;
  let worstAt = -1;
  let excess = 0;
  let sum = 0;
  let squares = 0;
  for (let i = 0; i < reference.length; ++i) {
    const error = (actual[i] as number) - (reference[i] as number);
    const size = Number.isNaN(error) ? Infinity : Math.abs(error);
    if (size > worst) {
      worst = size;
      worstAt = i;
    }
    excess = Math.max(excess, size / (tolerance.abs + Math.abs(reference[i] as number) * tolerance.rel));
    sum += error;
    squares += error * error;
  }
  const count = Math.max(reference.length, 1);
  return { worst, worstAt, excess, std: Math.sqrt(Math.max(squares / count - (sum / count) ** 2, 0)) };
}

/** Asserts that logits lie within a tolerance of the reference, all of them. */
export function closeTo(
  t: Test,
  actual: ArrayLike<number>,
  reference: ArrayLike<number>,
  tolerance: Tolerance,
  name: string,
): void {
  t.equal(actual.length, reference.length, `${name}: as many logits as the reference`);
  const found = difference(actual, reference, tolerance);
  t.ok(found.excess <= 1, `${name}: within ${tolerance.abs} + ${tolerance.rel} |reference|`, { found });
  if (tolerance.std !== undefined) {
    t.ok(found.std <= tolerance.std, `${name}: standard deviation of the error at most ${tolerance.std}`, { found });
  }
}

/** The bytes of a number array: -0 differs from 0, a NaN equals itself. */
function bytesOf(values: Float32Array): Buffer {
  return Buffer.from(values.buffer, values.byteOffset, values.byteLength);
}

/** Asserts that two float32 arrays hold the same bits. */
export function sameBits(t: Test, actual: Float32Array, expected: Float32Array, name: string): void {
  if (bytesOf(actual).equals(bytesOf(expected))) {
    t.pass(name);
    return;
  }
  const first = expected.findIndex((value, i) => !Object.is(value, actual[i]));
  t.fail(name, { length: [actual.length, expected.length], first, got: actual[first], wanted: expected[first] });
}

/** log softmax of one row of logits, in float64. */
export function logSoftmax(logits: ArrayLike<number>): Float64Array {
  let top = -Infinity;
  for (let i = 0; i < logits.length; ++i) top = Math.max(top, logits[i] as number);
  let sum = 0;
  for (let i = 0; i < logits.length; ++i) sum += Math.exp((logits[i] as number) - top);
  const normalizer = top + Math.log(sum);
  return Float64Array.from({ length: logits.length }, (_, i) => (logits[i] as number) - normalizer);
}
