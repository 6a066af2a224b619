// ROUGE after Lin (2004), "ROUGE: a package for automatic evaluation of summaries". Tokens and conventions are those of rouge_score 0.1.2
// without stemmer, so that figures may be put beside published ones; test/metrics/rouge.test.ts holds it to that package's output.

/** All three in 0..1. */
export interface RougeScore {
  precision: number;
  recall: number;
  f1: number;
}

export interface Rouge {
  rouge1: RougeScore;
  rouge2: RougeScore;
  /** Longest common subsequence of the whole text. */
  rougeL: RougeScore;
}

/** Lower case; every run of characters outside a-z and 0-9 separates. */
export function rougeTokens(text: string): string[] {
  return text.toLowerCase().split(/[^a-z0-9]+/).filter((token) => token !== "");
}

function score(matches: number, candidate: number, reference: number): RougeScore {
  const precision = matches / Math.max(candidate, 1);
  const recall = matches / Math.max(reference, 1);
  return { precision, recall, f1: precision + recall > 0 ? (2 * precision * recall) / (precision + recall) : 0 };
}

function countNgrams(tokens: readonly string[], n: number): Map<string, number> {
  const counts = new Map<string, number>();
  for (let i = 0; i + n <= tokens.length; i++) {
    const key = tokens.slice(i, i + n).join(" ");
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return counts;
}

function ngramScore(reference: readonly string[], candidate: readonly string[], n: number): RougeScore {
  const inReference = countNgrams(reference, n);
  let matches = 0;
  for (const [key, count] of countNgrams(candidate, n)) matches += Math.min(count, inReference.get(key) ?? 0);
  return score(matches, Math.max(candidate.length - n + 1, 0), Math.max(reference.length - n + 1, 0));
}

/** Length of the longest common subsequence; two rows of the table are enough. */
function commonLength(a: readonly string[], b: readonly string[]): number {
  let previous = new Uint32Array(b.length + 1);
  let current = new Uint32Array(b.length + 1);
  for (const token of a) {
    for (let j = 1; j <= b.length; j++) {
      const diagonal = (previous[j - 1] ?? 0) + 1;
      current[j] = token === b[j - 1] ? diagonal : Math.max(previous[j] ?? 0, current[j - 1] ?? 0);
    }
    [previous, current] = [current, previous];
  }
  return previous[b.length] ?? 0;
}

/** ROUGE-1, ROUGE-2 and ROUGE-L of one pair. Empty texts score 0. */
export function rouge(reference: string, candidate: string): Rouge {
  const wanted = rougeTokens(reference);
  const got = rougeTokens(candidate);
  return {
    rouge1: ngramScore(wanted, got, 1),
    rouge2: ngramScore(wanted, got, 2),
    rougeL: score(commonLength(wanted, got), got.length, wanted.length),
  };
}

/** Mean of each figure over pairs, as summarisation papers report it. No pairs: zeros. */
export function meanRouge(pairs: readonly { reference: string; candidate: string }[]): Rouge {
  const scores = pairs.map(({ reference, candidate }) => rouge(reference, candidate));
  const mean = (kind: keyof Rouge): RougeScore => {
    const over = (part: keyof RougeScore): number =>
      scores.reduce((sum, entry) => sum + entry[kind][part], 0) / Math.max(scores.length, 1);
    return { precision: over("precision"), recall: over("recall"), f1: over("f1") };
  };
  return { rouge1: mean("rouge1"), rouge2: mean("rouge2"), rougeL: mean("rougeL") };
}
