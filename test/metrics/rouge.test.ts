import { readFileSync } from "node:fs";
import t from "tap";
import { meanRouge, rouge } from "../../dist/metrics/rouge.js";

interface Score {
  precision: number;
  recall: number;
  f1: number;
}
interface Golden {
  tolerance: number;
  cases: { reference: string; candidate: string; rouge: { rouge1: Score; rouge2: Score; rougeL: Score } }[];
}
const golden = JSON.parse(readFileSync(new URL("../fixtures/rouge/cases.json", import.meta.url), "utf8")) as Golden;

t.test("ROUGE-1, ROUGE-2 and ROUGE-L equal rouge_score's on all golden pairs", async (t) => {
  t.equal(golden.cases.length, 60);
  for (const [i, { reference, candidate, rouge: wanted }] of golden.cases.entries()) {
    const got = rouge(reference, candidate);
    for (const kind of ["rouge1", "rouge2", "rougeL"] as const) {
      for (const part of ["precision", "recall", "f1"] as const) {
        const off = Math.abs(got[kind][part] - wanted[kind][part]);
        t.ok(off <= golden.tolerance, `pair ${i}: ${kind} ${part} is ${got[kind][part]}, golden ${wanted[kind][part]}`);
      }
    }
  }
});

t.test("a mean over pairs is the mean of the pairs' figures, and 0 without pairs", async (t) => {
  const mean = meanRouge([
    { reference: "a b", candidate: "a b" },
    { reference: "a b", candidate: "c d" },
  ]);
  t.equal(mean.rouge1.f1, 0.5);
  t.equal(mean.rougeL.recall, 0.5);
  t.equal(meanRouge([]).rouge2.f1, 0);
});
