// Several outputs of one prompt, and several prompts of one call.

import t from "tap";

import { allPagesFree, exactly, greedy, load, patience, within } from "../helpers/engine.js";
import { families } from "../helpers/paths.js";
import { randomIds } from "../helpers/random.js";

t.setTimeout(patience * 120_000);

const prompt = randomIds(51, 37);

t.test("n outputs stand in choices by index; the fields beside them are those of the first", async (t) => {
  const model = await load(t, families.opt);
  const result = await within(model.generate(prompt, { maxTokens: 12, n: 5, temperature: 1, seed: 1 }), "generate");
  const choices = result.choices ?? [];
  t.equal(choices.length, 5);
  t.same([...result.tokenIds], [...(choices[0]?.tokenIds ?? [])]);
  t.equal(result.text, choices[0]?.text);
  t.ok(choices.every((choice) => choice.timing.itlMs.length === choice.tokenIds.length - 1), "each has its own times");
  t.equal((await model.generate(prompt, greedy(2))).choices, undefined, "a single output has no choices");
  await allPagesFree(t, model);
});

t.test("greedy outputs of one prompt are all alike, also where they part in the middle of a page", async (t) => {
  const model = await load(t, families.opt);
  for (const length of [15, 16, 17, 31]) {
    const ids = randomIds(52, length);
    const alone = await model.generate(ids, greedy(40));
    const result = await within(model.generate(ids, { ...greedy(40), n: 4 }), "generate");
    for (const choice of result.choices ?? []) t.same([...choice.tokenIds], [...alone.tokenIds], `prompt of ${length}`);
  }
});

t.test("streamed deltas carry the index of their output", async (t) => {
  const model = await load(t, families.opt);
  const stream = model.stream(prompt, { maxTokens: 10, ignoreEos: true, n: 3, temperature: 1, seed: 5 });
  const tokens: number[][] = [[], [], []];
  for await (const delta of stream) tokens[delta.index]?.push(...delta.tokenIds);
  const result = await stream.result;
  t.same(tokens, (result.choices ?? []).map((choice) => [...choice.tokenIds]));
  t.ok(tokens.every((ids) => ids.length === 10));
});

t.test("the prompt is computed once for all outputs", async (t) => {
  const model = await load(t, families.opt);
  const before = model.stats();
  const result = await model.generate(prompt, { ...greedy(4), n: 6 });
  t.equal(result.promptTokens, prompt.length);
  t.equal(model.stats().promptTokens - before.promptTokens, prompt.length, "prompt tokens are counted once");
  t.equal(model.stats().generatedTokens - before.generatedTokens, 6 * 4);
});

t.test("a batch keeps the order of its prompts, whatever their lengths", async (t) => {
  const model = await load(t, families.opt);
  const prompts = [90, 2, 61, 1, 17].map((length, i) => randomIds(60 + i, length));
  const results = await within(model.generate(prompts, greedy(9)), "a batch");
  t.same(results.map((result) => result.promptTokens), [90, 2, 61, 1, 17]);
  for (const [i, ids] of prompts.entries()) {
    const alone = await model.generate(ids, greedy(9));
    t.equal(exactly(results[i] ?? alone), exactly(alone));
  }
  t.same(await model.generate([] as number[][], greedy(9)), [], "an empty batch gives an empty array");
});

t.test("more requests than maxSequences wait for a place and all end", async (t) => {
  const model = await load(t, families.opt, { maxSequences: 3 });
  const prompts = Array.from({ length: 20 }, (_, i) => randomIds(70 + i, 1 + i * 3));
  const results = await within(model.generate(prompts, greedy(12)), "a batch");
  t.ok(results.every((result) => result.tokenIds.length === 12));
  await allPagesFree(t, model);
});

t.test("a step's token budget may be smaller than the number of sequences", async (t) => {
  const model = await load(t, families.opt, { maxBatchTokens: 2 });
  const prompts = Array.from({ length: 9 }, (_, i) => randomIds(90 + i, 4 + i));
  for (const schedule of ["chunked", "split", "sequential"] as const) {
    await model.configure({ schedule });
    const results = await within(model.generate(prompts, greedy(12)), `${schedule}, a batch`);
    t.ok(results.every((result) => result.tokenIds.length === 12), schedule);
  }
});
