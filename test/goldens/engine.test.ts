// The engine against what Hugging Face computed in float64: stored float16 weights, and the same numbers widened.

import t, { type Test } from "tap";

import type { Completion, Model } from "../../dist/index.js";
import { closeTo, float32Tolerance, logSoftmax } from "../helpers/compare.js";
import { greedy, inTurn, load, schedules, within } from "../helpers/engine.js";
import { loadGolden, type Golden, type GoldenCase } from "../helpers/golden.js";
import { convertModel } from "../helpers/model-folder.js";
import { familyNames } from "../helpers/paths.js";

t.setTimeout(120_000);

/** Prompt and greedy tokens in one pass: its rows cover the golden's prompt logits and its step logits. */
async function compareLogits(t: Test, model: Model, golden: Golden, one: GoldenCase, name: string): Promise<void> {
  const ids = [...one.promptIds, ...one.greedyIds.slice(0, -1)];
  const { data, shape } = await within(model.logits(ids), "logits");
  t.same(shape, [ids.length, golden.vocab], `${name}: one row of logits per token`);
  const rows = (from: number, to: number): Float32Array => data.subarray(from * golden.vocab, to * golden.vocab);
  closeTo(t, rows(one.logitsFrom, one.promptIds.length), one.logits, float32Tolerance, `${name}, prompt`);
  closeTo(t, rows(one.promptIds.length - 1, ids.length), one.stepLogits, float32Tolerance, `${name}, steps`);
}

/** Greedy tokens, and the log probabilities that the decode lane gave them. */
function compareGenerated(t: Test, result: Completion, golden: Golden, one: GoldenCase, name: string): void {
  t.same([...result.tokenIds], one.greedyIds, `${name}: the golden's greedy tokens`);
  t.equal(result.finishReason, "length", `${name}: ends by its length`);
  t.equal(result.promptTokens, one.promptIds.length, `${name}: all prompt tokens counted`);
  const wanted = one.greedyIds.map((token, step) => {
    const row = one.stepLogits.subarray(step * golden.vocab, (step + 1) * golden.vocab);
    return logSoftmax(row)[token] as number;
  });
  const got = (result.logprobs ?? []).map((entry) => entry.logprob);
  closeTo(t, got, wanted, { abs: 1e-3, rel: 1e-4 }, `${name}, log probabilities`);
}

for (const family of familyNames) {
  for (const storage of ["f16", "f32"] as const) {
    t.test(`${family}, ${storage} weights: the golden's logits and greedy tokens in every schedule`, async (t) => {
      const golden = loadGolden(family);
      const folder = storage === "f16" ? golden.folder : convertModel(t, golden.folder, storage);
      const model = await load(t, folder, { kvCacheType: "f32" });
      for (const schedule of schedules) {
        await model.configure({ schedule, maxBatchTokens: 48 });
        const prompts = golden.cases.map((one) => one.promptIds);
        const batch = await within(model.generate(prompts, { ...greedy(24), logprobs: 0 }), "a batch");
        await inTurn(golden.cases, async (one, i) => {
          const name = `${schedule} ${one.name}`;
          await compareLogits(t, model, golden, one, name);
          compareGenerated(t, batch[i] as Completion, golden, one, name);
        });
      }
    });
  }
}
