// What sampling options do to logits, in float64 by plain loops. The order of the steps is that of GenerateOptions.

export interface SamplingOptions {
  repetitionPenalty?: number;
  presencePenalty?: number;
  frequencyPenalty?: number;
  logitBias?: ReadonlyMap<number, number>;
  /** Ids that cannot be drawn. */
  forbidden?: readonly number[];
  temperature?: number;
  topK?: number;
  topP?: number;
  minP?: number;
}

/** Logits after penalties, bias and forbidden ids. */
export function adjustedLogits(
  logits: ArrayLike<number>,
  prompt: readonly number[],
  generated: readonly number[],
  options: SamplingOptions,
): Float64Array {
  const z = Float64Array.from(logits);
  const r = options.repetitionPenalty ?? 1;
  for (const id of new Set([...prompt, ...generated])) {
    const value = z[id] as number;
    z[id] = value > 0 ? value / r : value * r;
  }
  for (const id of new Set(generated)) {
    const count = generated.filter((one) => one === id).length;
    z[id] = (z[id] as number) - (options.presencePenalty ?? 0) - (options.frequencyPenalty ?? 0) * count;
  }
  for (const [id, bias] of options.logitBias ?? []) z[id] = (z[id] as number) + bias;
  for (const id of options.forbidden ?? []) z[id] = -Infinity;
  return z;
}

function softmax(z: Float64Array): Float64Array {
  const top = z.reduce((best, value) => Math.max(best, value), -Infinity);
  const powers = z.map((value) => Math.exp(value - top));
  const sum = powers.reduce((total, value) => total + value, 0);
  return powers.map((value) => value / sum);
}

/** Probabilities of the next token at a temperature above 0. */
export function probabilities(adjusted: Float64Array, options: SamplingOptions): Float64Array {
  let z = adjusted.map((value) => value / (options.temperature ?? 1));
  const topK = options.topK ?? 0;
  if (topK > 0 && topK < z.length) {
    const border = [...z].sort((a, b) => b - a)[topK - 1] as number;
    z = z.map((value) => (value >= border ? value : -Infinity));
  }
  const minP = options.minP ?? 0;
  if (minP > 0) {
    const p = softmax(z);
    const least = minP * p.reduce((best, value) => Math.max(best, value), 0);
    z = z.map((value, i) => ((p[i] as number) >= least ? value : -Infinity));
  }
  const topP = options.topP ?? 1;
  if (topP < 1) {
    const p = softmax(z);
    const ascending = [...p.keys()].sort((a, b) => (p[a] as number) - (p[b] as number));
    let sum = 0;
    for (const id of ascending.slice(0, -1)) {
      sum += p[id] as number;
      if (sum <= 1 - topP) z[id] = -Infinity;
    }
  }
  return softmax(z);
}
