// The model that ships with the package writes what its golden says: tokens and text, from text and from ids.

import t from "tap";

import type { Completion } from "../../dist/index.js";
import { collect, load, schedules, within } from "../helpers/engine.js";
import { loadBundledGolden } from "../helpers/golden.js";
import { bundledModel } from "../helpers/paths.js";

t.setTimeout(120_000);

const golden = loadBundledGolden();

t.test("the bundled model encodes the golden's prompts to the golden's ids", async (t) => {
  const model = await load(t, bundledModel);
  for (const one of golden.cases) t.same([...(await model.tokenizer.encode(one.prompt))], one.promptIds, one.name);
});

t.test("the bundled model writes the golden's tokens and text in every schedule", async (t) => {
  const model = await load(t, bundledModel);
  for (const schedule of schedules) {
    await model.configure({ schedule });
    const prompts = golden.cases.map((one) => one.prompt);
    const results = await within(model.generate(prompts, { maxTokens: golden.maxNewTokens }), "a batch");
    golden.cases.forEach((one, i) => {
      const result = results[i] as Completion;
      t.same([...result.tokenIds], one.greedyIds, `${schedule} ${one.name}: tokens`);
      t.equal(result.text, one.greedyText, `${schedule} ${one.name}: text`);
      t.equal(result.finishReason, one.finishReason, `${schedule} ${one.name}: reason`);
    });
  }
});

t.test("a prompt as ids and a stream give the same as a prompt as text", async (t) => {
  const model = await load(t, "radiology");
  const one = golden.cases[3];
  if (one === undefined) throw new Error("the golden has at least four cases");
  const streamed = await within(collect(model.stream(one.promptIds, { maxTokens: golden.maxNewTokens })), "a stream");
  t.equal(streamed.text, one.greedyText);
  t.same(streamed.tokenIds, one.greedyIds);
  t.equal(streamed.result.text, one.greedyText);
  const typed = await model.generate(Uint32Array.from(one.promptIds), { maxTokens: golden.maxNewTokens });
  t.same([...typed.tokenIds], one.greedyIds, "ids in a Uint32Array");
});
