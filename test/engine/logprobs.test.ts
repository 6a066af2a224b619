// Log probabilities are those of the model's own logits, before penalties and temperature.

import t from "tap";

import type { TokenLogprob } from "../../dist/index.js";
import { closeTo, logSoftmax } from "../helpers/compare.js";
import { collect, greedy, load, patience, schedules, within } from "../helpers/engine.js";
import { families } from "../helpers/paths.js";
import { randomIds } from "../helpers/random.js";

t.setTimeout(patience * 120_000);

const prompt = randomIds(41, 20);
const near = { abs: 1e-4, rel: 1e-5 };

t.test("log probabilities of output tokens are the log softmax of the logits, best alternatives first", async (t) => {
  const model = await load(t, families.opt, { kvCacheType: "f32" });
  const { vocab } = model.config;
  for (const schedule of schedules) {
    await model.configure({ schedule });
    const options = { maxTokens: 16, ignoreEos: true, temperature: 1.5, seed: 3, repetitionPenalty: 1.2, logprobs: 6 };
    const result = await within(model.generate(prompt, options), "generate");
    const { data } = await within(model.logits([...prompt, ...result.tokenIds]), "logits");
    const entries = result.logprobs ?? [];
    t.equal(entries.length, 16, `${schedule}: one entry per token`);
    entries.forEach((entry, i) => {
      const row = prompt.length - 1 + i;
      const wanted = logSoftmax(data.subarray(row * vocab, (row + 1) * vocab));
      t.equal(entry.tokenId, result.tokenIds[i], `token ${i}: the entry's own token`);
      closeTo(t, [entry.logprob], [wanted[entry.tokenId] as number], near, `token ${i}`);
      const best = [...wanted.keys()].sort((a, b) => (wanted[b] as number) - (wanted[a] as number)).slice(0, 6);
      t.same(entry.top.map((one) => one.tokenId), best, `token ${i}: the six most probable`);
      closeTo(t, entry.top.map((one) => one.logprob), best.map((id) => wanted[id] as number), near, `token ${i}, top`);
    });
  }
});

t.test("logprobs 0 gives the token's own only, no option gives none, all of the vocabulary sums to 1", async (t) => {
  const model = await load(t, families.opt);
  t.equal((await model.generate(prompt, greedy(3))).logprobs, undefined);
  const own = await model.generate(prompt, { ...greedy(3), logprobs: 0 });
  t.same((own.logprobs ?? []).map((entry) => entry.top.length), [0, 0, 0]);
  const all = await model.generate(prompt, { ...greedy(1), logprobs: model.config.vocab });
  const top = all.logprobs?.[0]?.top ?? [];
  t.equal(new Set(top.map((one) => one.tokenId)).size, model.config.vocab, "every token once");
  closeTo(t, [top.reduce((sum, one) => sum + Math.exp(one.logprob), 0)], [1], { abs: 1e-4, rel: 0 }, "probabilities");
});

t.test("prompt log probabilities: null first, then of each token given those before it", async (t) => {
  const model = await load(t, families.opt, { kvCacheType: "f32" });
  const { vocab } = model.config;
  const { data } = await model.logits(prompt);
  for (const schedule of schedules) {
    await model.configure({ schedule, maxBatchTokens: 7 });
    const result = await within(model.generate(prompt, { ...greedy(2), promptLogprobs: 2 }), "generate");
    const [first, ...rest] = result.promptLogprobs ?? [];
    t.equal(first, null, `${schedule}: the first token has nothing before it`);
    t.same(rest.map((entry) => entry?.tokenId), prompt.slice(1), `${schedule}: one entry per token`);
    const rows = rest.map((_, i) => logSoftmax(data.subarray(i * vocab, (i + 1) * vocab)));
    const got = rest.map((entry) => entry?.logprob ?? NaN);
    closeTo(t, got, rows.map((row, i) => row[prompt[i + 1] as number] as number), near, schedule);
    const best = rows.map((row) => row.reduce((most, value) => Math.max(most, value), -Infinity));
    closeTo(t, rest.map((entry) => entry?.top[0]?.logprob ?? NaN), best, near, `${schedule}, most probable`);
    t.ok(rest.every((entry) => entry?.top.length === 2), `${schedule}: two alternatives each`);
  }
  t.equal((await model.generate(prompt, greedy(2))).promptLogprobs, undefined, "none unless asked for");
});

t.test("streamed log probabilities are those of the result", async (t) => {
  const model = await load(t, families.opt);
  const { deltas, result } = await within(collect(model.stream(prompt, { ...greedy(12), logprobs: 1 })), "a stream");
  const streamed = deltas.flatMap((delta): TokenLogprob[] => delta.logprobs ?? []);
  t.same(streamed, result.logprobs);
  t.equal(streamed.length, 12);
});
