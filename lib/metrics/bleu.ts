// BLEU after Papineni et al. (2002), with the "13a" tokens of mteval and exponential smoothing (Chen and Cherry 2014, method 3): the
// conventions of sacrebleu 2.6.0, to whose output test/metrics/bleu.test.ts holds it.

const maxOrder = 4;

export interface Bleu {
  /** Percent, 0..100. */
  score: number;
  /** Matched n-grams, n = 1..4. */
  counts: number[];
  /** N-grams of the candidate, n = 1..4. */
  totals: number[];
  /** Percent, n = 1..4, smoothed. */
  precisions: number[];
  brevityPenalty: number;
  candidateLength: number;
  referenceLength: number;
}

/** Tokens of mteval-v13a: punctuation stands alone, but a period or comma between digits stays. Case is kept. */
export function bleuTokens(text: string): string[] {
  return ` ${text
    .trimEnd()
    .replaceAll("<skipped>", "")
    .replaceAll("-\n", "")
    .replaceAll("\n", " ")
    .replaceAll("&quot;", '"')
    .replaceAll("&amp;", "&")
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">")} `
    .replace(/([{-~[-` -&(-+:-@/])/g, " $1 ")
    .replace(/([^0-9])([.,])/g, "$1 $2 ")
    .replace(/([.,])([^0-9])/g, " $1 $2")
    .replace(/([0-9])(-)/g, "$1 $2 ")
    .split(/\s+/)
    .filter((token) => token !== "");
}

interface Counted {
  counts: number[];
  totals: number[];
  candidateLength: number;
  referenceLength: number;
}

function ngrams(tokens: readonly string[], n: number): Map<string, number> {
  const found = new Map<string, number>();
  for (let i = 0; i + n <= tokens.length; i++) {
    const key = tokens.slice(i, i + n).join(" ");
    found.set(key, (found.get(key) ?? 0) + 1);
  }
  return found;
}

function countPair(reference: string, candidate: string): Counted {
  const wanted = bleuTokens(reference);
  const got = bleuTokens(candidate);
  const result: Counted = { counts: [], totals: [], candidateLength: got.length, referenceLength: wanted.length };
  for (let n = 1; n <= maxOrder; n++) {
    const inReference = ngrams(wanted, n);
    let matches = 0;
    for (const [key, count] of ngrams(got, n)) matches += Math.min(count, inReference.get(key) ?? 0);
    result.counts.push(matches);
    result.totals.push(Math.max(got.length - n + 1, 0));
  }
  return result;
}

function penalty(candidateLength: number, referenceLength: number): number {
  if (candidateLength >= referenceLength) return 1;
  return candidateLength === 0 ? 0 : Math.exp(1 - referenceLength / candidateLength);
}

/** `effectiveOrder`: a text shorter than 4 tokens is judged by the orders that it has. */
function combine(counted: Counted, effectiveOrder: boolean): Bleu {
  const brevityPenalty = penalty(counted.candidateLength, counted.referenceLength);
  const precisions = new Array<number>(maxOrder).fill(0);
  let score = 0;
  if (counted.counts.some((count) => count > 0)) {
    let order = maxOrder;
    let smoothing = 1;
    for (const [i, total] of counted.totals.entries()) {
      if (total === 0) break;
      if (effectiveOrder) order = i + 1;
      const count = counted.counts[i] ?? 0;
      if (count === 0) smoothing *= 2;
      precisions[i] = count === 0 ? 100 / (smoothing * total) : (100 * count) / total;
    }
    const logs = precisions.slice(0, order).reduce((sum, precision) => sum + Math.log(precision), 0);
    score = brevityPenalty * Math.exp(logs / order);
  }
  return { score, precisions, brevityPenalty, ...counted };
}

/** BLEU of one pair, with effective order. */
export function sentenceBleu(reference: string, candidate: string): Bleu {
  return combine(countPair(reference, candidate), true);
}

/** BLEU of a corpus: counts are summed over pairs before they are combined. */
export function corpusBleu(pairs: readonly { reference: string; candidate: string }[]): Bleu {
  const zeros = (): number[] => new Array<number>(maxOrder).fill(0);
  const sum: Counted = { counts: zeros(), totals: zeros(), candidateLength: 0, referenceLength: 0 };
  for (const { reference, candidate } of pairs) {
    const one = countPair(reference, candidate);
    sum.counts = sum.counts.map((count, i) => count + (one.counts[i] ?? 0));
    sum.totals = sum.totals.map((total, i) => total + (one.totals[i] ?? 0));
    sum.candidateLength += one.candidateLength;
    sum.referenceLength += one.referenceLength;
  }
  return combine(sum, false);
}
