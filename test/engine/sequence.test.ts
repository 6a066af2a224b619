// The two phases by hand: prefill, decode, fork, truncate, append, dispose.

import t, { type Test } from "tap";

import type { Model, Sequence } from "../../dist/index.js";
import { sameBits } from "../helpers/compare.js";
import { allPagesFree, collect, exactly, greedy, load, patience, refusal, schedules, within } from "../helpers/engine.js";
import { families } from "../helpers/paths.js";
import { randomIds } from "../helpers/random.js";

t.setTimeout(patience * 120_000);

const prompt = randomIds(301, 45);
const drawn = { temperature: 1, seed: 8, maxTokens: 20, ignoreEos: true, logprobs: 1 } as const;

async function decode(sequence: Sequence, options: Parameters<Sequence["decode"]>[0]) {
  return (await within(collect(sequence.decode(options)), "decode")).result;
}

const bits = async (sequence: Sequence): Promise<Float32Array> => (await sequence.logits()).data;

/** Logits of the last position when the tokens are computed afresh. */
async function fresh(model: Model, ids: readonly number[]): Promise<Float32Array> {
  const sequence = await within(model.prefill(ids), "a prefill");
  const data = await bits(sequence);
  await sequence.dispose();
  return data;
}

async function inEverySchedule(t: Test, model: Model, body: (schedule: string) => Promise<void>): Promise<void> {
  for (const schedule of schedules) {
    await model.configure({ schedule, maxBatchTokens: 16 });
    await body(schedule);
    await allPagesFree(t, model, `${schedule}: pages`);
  }
}

t.test("prefill and then decode give the tokens of generate", async (t) => {
  const model = await load(t, families.opt);
  await inEverySchedule(t, model, async (schedule) => {
    const expected = exactly(await model.generate(prompt, drawn));
    const sequence = await within(model.prefill(prompt), "a prefill");
    t.equal(sequence.length, prompt.length);
    t.same([...sequence.tokenIds], prompt);
    t.equal(sequence.timing.prefillTokens, prompt.length, "the prefill has times of its own");
    const result = await decode(sequence, drawn);
    t.equal(exactly(result), expected, schedule);
    t.same([...sequence.tokenIds], [...prompt, ...result.tokenIds], "the output is now part of the sequence");
    t.equal(sequence.length, prompt.length + 20);
    await sequence.dispose();
  });
});

t.test("decode called again goes on where it ended", async (t) => {
  const model = await load(t, families.opt);
  await inEverySchedule(t, model, async (schedule) => {
    const whole = await model.generate(prompt, drawn);
    const sequence = await model.prefill(prompt);
    const parts = [1, 7, 12];
    const tokens: number[] = [];
    for (const maxTokens of parts) tokens.push(...(await decode(sequence, { ...drawn, maxTokens })).tokenIds);
    t.same(tokens, [...whole.tokenIds], schedule);
    await sequence.dispose();
  });
});

t.test("a fork goes on like the original, and neither sees what the other writes", async (t) => {
  const model = await load(t, families.opt);
  await inEverySchedule(t, model, async (schedule) => {
    // 45 tokens: the third page of 16 is shared when half full, so the first write must copy it.
    const expected = exactly(await model.generate(prompt, drawn));
    const original = await model.prefill(prompt);
    const other = original.fork();
    const elsewhere = await decode(other, { ...drawn, seed: 9 });
    t.not(exactly(elsewhere), expected, `${schedule}: another seed, other tokens`);
    const third = original.fork();
    const [first, second] = await Promise.all([decode(original, drawn), decode(third, drawn)]);
    t.equal(exactly(first), expected, `${schedule}: the original is untouched by its fork`);
    t.equal(exactly(second), expected, `${schedule}: a later fork too, side by side with it`);
    sameBits(t, await bits(other), await fresh(model, other.tokenIds), `${schedule}: the fork holds what it decoded`);
    for (const sequence of [original, other, third]) await sequence.dispose();
  });
});

t.test("a fork shares pages until it writes", async (t) => {
  const model = await load(t, families.opt);
  const original = await model.prefill(prompt);
  const used = model.stats().pages.used;
  const forks = Array.from({ length: 5 }, () => original.fork());
  t.equal(model.stats().pages.used, used, "five forks take no page");
  t.equal(model.stats().held, 6);
  await original.dispose();
  t.equal(model.stats().pages.used, used, "forks keep the pages when the original goes");
  const [last] = forks;
  if (last === undefined) throw new Error("there are forks");
  t.equal(exactly(await decode(last, drawn)), exactly(await model.generate(prompt, drawn)));
  for (const fork of forks) await fork.dispose();
  await allPagesFree(t, model);
});

t.test("truncate and append leave the bits of a fresh prefill", async (t) => {
  const model = await load(t, families.opt);
  await inEverySchedule(t, model, async (schedule) => {
    for (const length of [1, 15, 16, 17, 32, 44, 45]) {
      const more = randomIds(310 + length, 21);
      const sequence = await model.prefill(prompt);
      await decode(sequence, greedy(5));
      await sequence.truncate(length);
      t.equal(sequence.length, length);
      t.same([...sequence.tokenIds], prompt.slice(0, length));
      await within(sequence.append(more), "append");
      const ids = [...prompt.slice(0, length), ...more];
      t.same([...sequence.tokenIds], ids);
      sameBits(t, await bits(sequence), await fresh(model, ids), `${schedule}: cut to ${length} tokens`);
      const expected = exactly(await model.generate(ids, drawn));
      t.equal(exactly(await decode(sequence, drawn)), expected, `${schedule}: and goes on alike`);
      await sequence.dispose();
    }
  });
});

t.test("truncate frees pages, and a truncated sequence decodes as if it had never been longer", async (t) => {
  const model = await load(t, families.opt);
  const sequence = await model.prefill(randomIds(302, 130));
  const used = model.stats().pages.used;
  await sequence.truncate(20);
  t.ok(model.stats().pages.used < used, "pages past the cut are free");
  const expected = exactly(await model.generate(randomIds(302, 130).slice(0, 20), drawn));
  t.equal(exactly(await decode(sequence, drawn)), expected);
  await sequence.dispose();
  await allPagesFree(t, model);
});

t.test("a truncated fork does not shorten its original", async (t) => {
  const model = await load(t, families.opt);
  const original = await model.prefill(prompt);
  const before = await bits(original);
  const fork = original.fork();
  await fork.truncate(33);
  await fork.append(randomIds(303, 9));
  t.equal(original.length, 45);
  sameBits(t, await bits(original), before, "the original's last logits");
  t.equal(exactly(await decode(original, drawn)), exactly(await model.generate(prompt, drawn)));
  await fork.dispose();
  await original.dispose();
});

t.test("dispose frees the pages, may be called again, and ends what runs on the sequence", async (t) => {
  const model = await load(t, families.opt);
  const sequence = await model.prefill(prompt);
  const running = sequence.decode(greedy(140));
  await sequence.dispose();
  t.equal((await refusal(running.result, "decode of a disposed sequence")).code, "DISPOSED");
  await sequence.dispose();
  await allPagesFree(t, model);
  for (const call of [() => sequence.append([5]), () => sequence.truncate(3), () => sequence.decode().result]) {
    t.equal((await refusal((async () => call())())).code, "DISPOSED");
  }
});

t.test("an aborted decode leaves a sequence that goes on from the tokens it has", async (t) => {
  const model = await load(t, families.opt);
  const sequence = await model.prefill(prompt);
  let seen = 0;
  for await (const delta of sequence.decode({ ...greedy(140) })) {
    seen += delta.tokenIds.length;
    if (seen >= 3) break;
  }
  const rest = await decode(sequence, greedy(5));
  const held = [...sequence.tokenIds];
  t.same(held.slice(0, prompt.length), prompt);
  const all = (await model.generate(prompt, greedy(140))).tokenIds.slice(0, held.length - prompt.length);
  t.same(held.slice(prompt.length), [...all], "its tokens are those of one whole generation");
  t.same([...rest.tokenIds], held.slice(-5));
  await sequence.dispose();
  await allPagesFree(t, model);
});
