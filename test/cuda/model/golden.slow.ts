// The engine on the simulated GPU against what Hugging Face computed in float64, in every storage type and schedule.

import t, { type Test } from "tap";

import type { Completion, Model } from "../../../dist/index.js";
import { closeTo, logSoftmax, type Tolerance } from "../../helpers/compare.js";
import { greedy, inTurn, load, schedules, within } from "../../helpers/engine.js";
import { loadBundledGolden, loadGolden, type Golden, type GoldenCase } from "../../helpers/golden.js";
import { convertModel } from "../../helpers/model-folder.js";
import { bundledModel, familyNames } from "../../helpers/paths.js";
import { simulate } from "./simulator.js";

simulate({ ARCH: 90, SMS: 16 });
t.setTimeout(600_000);

/** Activations are rounded to the storage type after every operation; two layers, logits of a few units. */
const tolerances: Record<"f32" | "f16" | "bf16", Tolerance> = {
  f32: { abs: 1e-3, rel: 1e-4, std: 3e-5 },
  f16: { abs: 3e-2, rel: 1e-3 },
  bf16: { abs: 3e-1, rel: 1e-2 },
};

async function compareLogits(t: Test, model: Model, golden: Golden, one: GoldenCase, tolerance: Tolerance): Promise<void> {
  const ids = [...one.promptIds, ...one.greedyIds.slice(0, -1)];
  const { data } = await within(model.logits(ids), "logits", 300_000);
  const rows = (from: number, to: number): Float32Array => data.subarray(from * golden.vocab, to * golden.vocab);
  closeTo(t, rows(one.logitsFrom, one.promptIds.length), one.logits, tolerance, `${one.name}, prompt`);
  closeTo(t, rows(one.promptIds.length - 1, ids.length), one.stepLogits, tolerance, `${one.name}, steps`);
}

/** Where the best logit leads by less than twice the tolerance, another token is as good. */
function compareTokens(t: Test, result: Completion, golden: Golden, one: GoldenCase, tolerance: Tolerance, name: string): void {
  const step = one.greedyIds.findIndex((token, i) => token !== result.tokenIds[i]);
  if (step < 0) {
    t.equal(result.tokenIds.length, one.greedyIds.length, `${name}: the golden's greedy tokens`);
    return;
  }
  const row = one.stepLogits.subarray(step * golden.vocab, (step + 1) * golden.vocab);
  const lead = (row[one.greedyIds[step] as number] as number) - (row[result.tokenIds[step] as number] as number);
  t.ok(lead <= 2 * tolerance.abs, `${name}: differs at step ${step}, where the lead is ${lead}`);
}

for (const family of familyNames) {
  for (const storage of ["f32", "f16", "bf16"] as const) {
    t.test(`${family}, ${storage} weights: logits and greedy tokens in every schedule`, async (t) => {
      const golden = loadGolden(family);
      const tolerance = tolerances[storage];
      const folder = storage === "f16" ? golden.folder : convertModel(t, golden.folder, storage);
      const model = await load(t, folder, { device: "cuda" });
      t.equal(model.device.id, "cuda:0");
      t.equal(model.config.kvCacheType, storage);
      const prompts = golden.cases.map((one) => one.promptIds);
      await model.configure({ maxBatchTokens: 48 });
      const batches = await inTurn(schedules, async (schedule) => {
        await model.configure({ schedule });
        return within(model.generate(prompts, greedy(24)), schedule, 300_000);
      });
      // Log probabilities are not for decode graphs: the same step, op by op.
      const slowly = await within(model.generate(prompts, { ...greedy(24), logprobs: 0 }), "log probabilities", 300_000);
      await inTurn(golden.cases, async (one, i) => {
        const result = slowly[i] as Completion;
        compareTokens(t, result, golden, one, tolerance, one.name);
        for (const [s, schedule] of schedules.entries()) {
          t.same(batches[s]?.[i]?.tokenIds, result.tokenIds, `${schedule} ${one.name}: decode graphs draw the same tokens`);
        }
        await compareLogits(t, model, golden, one, tolerance);
        const first = result.logprobs?.[0];
        const wanted = logSoftmax(one.stepLogits.subarray(0, golden.vocab))[first?.tokenId ?? 0] as number;
        closeTo(t, [first?.logprob ?? NaN], [wanted], { abs: 2 * tolerance.abs, rel: 0 }, `${one.name}, log probability`);
      });
    });
  }
}

/** Float16 activations move a logit by a few hundredths. */
const clearMargin = 0.1;

t.test("the bundled model writes the golden's tokens in every schedule, where margins are clear", async (t) => {
  const golden = loadBundledGolden();
  const model = await load(t, bundledModel, { device: "cuda" });
  // Without SPLITWISER_TEST_LONG=1 only some, the short ones: a simulator is slow.
  const most = process.env["SPLITWISER_TEST_LONG"] === "1" ? golden.cases.length : 6;
  const cases = golden.cases.filter((one) => one.minTop2Margin > clearMargin).slice(0, most);
  t.ok(cases.length >= 2, "some goldens have clear margins", { margins: golden.cases.map((one) => one.minTop2Margin) });
  const runs = await inTurn(schedules, async (schedule) => {
    await model.configure({ schedule });
    return within(model.generate(cases.map((one) => one.promptIds), { maxTokens: golden.maxNewTokens }), schedule, 600_000);
  });
  for (const [s, schedule] of schedules.entries()) {
    const tokens = (runs[s] as Completion[]).map((one) => [...one.tokenIds]);
    t.same(tokens, (runs[0] as Completion[]).map((one) => [...one.tokenIds]), `${schedule}: the tokens of sequential`);
  }
  for (const [i, one] of cases.entries()) {
    const result = (runs[0] as Completion[])[i];
    t.same([...(result?.tokenIds ?? [])], one.greedyIds, `${one.name}: tokens`);
    t.equal(result?.text, one.greedyText, `${one.name}: text`);
  }
});
