import { readFileSync } from "node:fs";
import t from "tap";
import { bleuTokens, corpusBleu, sentenceBleu } from "../../dist/metrics/bleu.js";

interface Scores {
  score: number;
  counts: number[];
  totals: number[];
  precisions: number[];
  brevityPenalty: number;
}
interface Golden {
  tolerance: number;
  corpusBleu: { exp: Scores };
  cases: { reference: string; candidate: string; bleu: Scores & { candidateLength: number; referenceLength: number } }[];
}
const golden = JSON.parse(readFileSync(new URL("../fixtures/rouge/cases.json", import.meta.url), "utf8")) as Golden;
const near = (a: number, b: number): boolean => Math.abs(a - b) <= golden.tolerance * Math.max(1, Math.abs(b));

function same(t: Tap, got: Scores, wanted: Scores, name: string): void {
  t.ok(near(got.score, wanted.score), `${name}: score is ${got.score}, golden ${wanted.score}`);
  t.ok(near(got.brevityPenalty, wanted.brevityPenalty), `${name}: brevity penalty`);
  t.same(got.counts, wanted.counts, `${name}: counts`);
  t.same(got.totals, wanted.totals, `${name}: totals`);
  for (const [n, precision] of wanted.precisions.entries()) {
    t.ok(near(got.precisions[n] ?? Number.NaN, precision), `${name}: precision ${n + 1}`);
  }
}
type Tap = typeof t;

t.test("sentence BLEU equals sacrebleu's on all golden pairs", async (t) => {
  for (const [i, { reference, candidate, bleu }] of golden.cases.entries()) {
    const got = sentenceBleu(reference, candidate);
    same(t as Tap, got, bleu, `pair ${i}`);
    t.equal(got.candidateLength, bleu.candidateLength, `pair ${i}: candidate length`);
    t.equal(got.referenceLength, bleu.referenceLength, `pair ${i}: reference length`);
  }
});

t.test("corpus BLEU equals sacrebleu's over all golden pairs", async (t) => {
  same(t as Tap, corpusBleu(golden.cases), golden.corpusBleu.exp, "corpus");
});

t.test("a period or comma stands alone unless digits are on both sides", async (t) => {
  t.same(bleuTokens("3.5 cm, see (2)-4."), ["3.5", "cm", ",", "see", "(", "2", ")", "-4", "."]);
});
