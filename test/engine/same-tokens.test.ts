// Drawn tokens follow from prompt, options and seed alone: on every call, in every schedule, at every place of a batch.

import t from "tap";

import type { Completion } from "../../dist/index.js";
import { exactly, inTurn, load, patience, schedules, within } from "../helpers/engine.js";
import { families } from "../helpers/paths.js";
import { randomIds } from "../helpers/random.js";

t.setTimeout(patience * 120_000);

const prompts = [40, 3, 17, 64, 1, 90, 16, 33].map((length, i) => randomIds(200 + i, length));
const subject = prompts[0] as number[];
const drawn = { temperature: 1, seed: 42, maxTokens: 24, ignoreEos: true, logprobs: 0 } as const;

t.test("the same prompt and seed give the same tokens on every call and in every schedule", async (t) => {
  const model = await load(t, families.opt, { threads: 2 });
  const expected = exactly(await model.generate(subject, drawn));
  for (const schedule of schedules) {
    for (const maxBatchTokens of [1, 16, 512]) {
      await model.configure({ schedule, maxBatchTokens });
      t.equal(exactly(await model.generate(subject, drawn)), expected, `${schedule}, ${maxBatchTokens} tokens a step`);
    }
  }
  const other = await load(t, families.opt, { threads: 1, pageSize: 64 });
  t.equal(exactly(await other.generate(subject, drawn)), expected, "another load of the model");
});

t.test("a request draws the same tokens alone and at any place of a batch", async (t) => {
  const model = await load(t, families.opt);
  const alone = await inTurn(prompts, async (prompt) => exactly(await model.generate(prompt, drawn)));
  for (const schedule of schedules) {
    await model.configure({ schedule, maxBatchTokens: 32 });
    for (const shift of [0, 1, 5]) {
      const order = prompts.map((_, i) => (i + shift) % prompts.length);
      const batch = await within(model.generate(order.map((i) => prompts[i] as number[]), drawn), "a batch");
      order.forEach((i, place) => {
        t.equal(exactly(batch[place] as Completion), alone[i], `${schedule}: prompt ${i} at place ${place}`);
      });
    }
  }
  t.equal(new Set(alone).size, prompts.length, "and each prompt has tokens of its own");
});

t.test("choices draw streams of their own, the same whatever n is", async (t) => {
  const model = await load(t, families.opt);
  const texts = (result: Completion): string[] =>
    (result.choices ?? [result]).map((choice) => [...choice.tokenIds].join(" "));
  const one = texts(await model.generate(subject, drawn));
  const four = texts(await model.generate(subject, { ...drawn, n: 4 }));
  const six = texts(await model.generate(subject, { ...drawn, n: 6 }));
  t.equal(new Set(six).size, 6, "six choices, six streams");
  t.same(four, six.slice(0, 4), "choice k is the same among four and among six");
  t.same(one, six.slice(0, 1), "a single choice is choice 0");
});

t.test("other seeds give other tokens, and a drawn seed is returned", async (t) => {
  const model = await load(t, families.opt);
  const bySeed = await inTurn([1, 2, 3, 4], async (seed) => exactly(await model.generate(subject, { ...drawn, seed })));
  t.equal(new Set(bySeed).size, 4);
  const unseeded = { temperature: 1, maxTokens: 24, ignoreEos: true, logprobs: 0 } as const;
  const first = await model.generate(subject, unseeded);
  const second = await model.generate(subject, unseeded);
  t.type(first.seed, "number", "a seed is drawn and returned");
  t.not(first.seed, second.seed, "each call draws its own");
  if (first.seed === undefined) throw new Error("the seed of a drawn completion is returned");
  t.equal(exactly(await model.generate(subject, { ...drawn, seed: first.seed })), exactly(first), "and gives the tokens again");
  t.equal((await model.generate(subject, drawn)).seed, 42, "a given seed is returned as given");
});

t.test("the draw of a position depends on the seed and the position, not on how the request got there", async (t) => {
  const model = await load(t, families.opt);
  const whole = await model.generate(subject, drawn);
  const half = await model.generate(subject, { ...drawn, maxTokens: 12 });
  const rest = await model.generate([...subject, ...half.tokenIds], { ...drawn, maxTokens: 12 });
  t.same([...half.tokenIds, ...rest.tokenIds], [...whole.tokenIds]);
});
