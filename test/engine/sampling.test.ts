// Sampling options through the public face, held to float64 arithmetic on the model's own logits.

import t, { type Test } from "tap";

import type { GenerateOptions, Model } from "../../dist/index.js";
import { greedy, inTurn, load, patience, within } from "../helpers/engine.js";
import { families } from "../helpers/paths.js";
import { randomIds } from "../helpers/random.js";
import { argmax } from "../reference/opt.js";
import { adjustedLogits, probabilities, type SamplingOptions } from "../reference/sampling.js";

t.setTimeout(patience * 120_000);

const prompt = randomIds(31, 24);
const wide = { kvCacheType: "f32" } as const;

async function lastLogits(model: Model, ids: readonly number[]): Promise<Float32Array> {
  const { data } = await within(model.logits(ids), "logits");
  return data.subarray(-model.config.vocab);
}

/** Greedy decoding under penalties, step by step by the reference's arithmetic. */
async function expectedGreedy(model: Model, steps: number, options: SamplingOptions): Promise<number[]> {
  const generated: number[] = [];
  while (generated.length < steps) {
    const logits = await lastLogits(model, [...prompt, ...generated]);
    generated.push(argmax(adjustedLogits(logits, prompt, generated, options)));
  }
  return generated;
}

t.test("penalties and bias change greedy decoding as their definitions say", async (t) => {
  const model = await load(t, families.opt, wide);
  const plain = (await model.generate(prompt, greedy(24))).tokenIds;
  const cases: Omit<SamplingOptions, "forbidden">[] = [
    { repetitionPenalty: 1.6 },
    { repetitionPenalty: 0.7 },
    { presencePenalty: 2.5 },
    { frequencyPenalty: 1.5 },
    { presencePenalty: -1.5, frequencyPenalty: -0.5 },
    { logitBias: new Map([[plain[0] as number, -4], [17, 3.5], [18, 3]]) },
    { repetitionPenalty: 1.2, presencePenalty: 0.5, frequencyPenalty: 0.25, logitBias: new Map([[30, 2]]) },
  ];
  let changed = 0;
  await inTurn(cases, async (options) => {
    const wanted = await expectedGreedy(model, 24, options);
    const result = await within(model.generate(prompt, { ...greedy(24), ...options }), "generate");
    const name = JSON.stringify({ ...options, logitBias: [...(options.logitBias ?? [])] });
    t.same([...result.tokenIds], wanted, name);
    if (wanted.join() !== plain.join()) changed += 1;
  });
  t.equal(changed, cases.length, "every case really changes the tokens");
});

t.test("a bias forces a token or forbids it", async (t) => {
  const model = await load(t, families.opt);
  const forced = await model.generate(prompt, { ...greedy(5), logitBias: { 17: 1000 } });
  t.same([...forced.tokenIds], [17, 17, 17, 17, 17]);
  const [best] = (await model.generate(prompt, greedy(1))).tokenIds;
  const without = await model.generate(prompt, { ...greedy(8), logitBias: { [best as number]: -Infinity } });
  t.notOk(without.tokenIds.includes(best as number), "a token with bias -Infinity never comes");
});

/** First tokens drawn with many seeds, counted. */
async function draw(model: Model, options: GenerateOptions, calls: number, n: number): Promise<number[]> {
  const counts = new Array<number>(model.config.vocab).fill(0);
  const seeds = Array.from({ length: calls }, (_, i) => 1000 + i);
  const results = await within(
    Promise.all(seeds.map((seed) => model.generate(prompt, { ...options, seed, n, maxTokens: 1, ignoreEos: true }))),
    "many draws",
  );
  for (const choice of results.flatMap((result) => result.choices ?? [result])) {
    const token = choice.tokenIds[0] as number;
    counts[token] = (counts[token] as number) + 1;
  }
  return counts;
}

/** Asserts that only tokens with a probability were drawn, each about as often as its probability says. */
function drawnAsExpected(t: Test, counts: number[], p: Float64Array, name: string): void {
  const total = counts.reduce((sum, count) => sum + count, 0);
  t.same(counts.flatMap((count, id) => (count > 0 && p[id] === 0 ? [id] : [])), [], `${name}: no token outside`);
  // Rare tokens count together: the normal law says little of a mean below 5.
  const common = [...p.keys()].filter((id) => total * (p[id] as number) >= 5);
  const rest = [...p.keys()].filter((id) => !common.includes(id));
  const groups = [...common.map((id) => [id]), rest];
  // Five standard deviations; seeds are fixed, so this passes always or never.
  const odd = groups.flatMap((ids) => {
    const share = ids.reduce((sum, id) => sum + (p[id] as number), 0);
    const count = ids.reduce((sum, id) => sum + (counts[id] as number), 0);
    const mean = total * share;
    return Math.abs(count - mean) > 5 * Math.sqrt(mean * (1 - share)) + 1 ? [[ids, count, mean]] : [];
  });
  t.same(odd, [], `${name}: frequencies as the probabilities`);
}

t.test("tokens are drawn with the probabilities that the options define", async (t) => {
  const model = await load(t, families.opt, wide);
  const logits = await lastLogits(model, prompt);
  const cases: (SamplingOptions & { temperature: number })[] = [
    { temperature: 1 },
    { temperature: 1.7, topK: 5 },
    { temperature: 1.5, topP: 0.6 },
    { temperature: 2, minP: 0.2 },
    { temperature: 1.3, topK: 20, topP: 0.8, minP: 0.05, repetitionPenalty: 1.3 },
    { temperature: 0.3 },
  ];
  await inTurn(cases, async (options) => {
    const p = probabilities(adjustedLogits(logits, prompt, [], options), options);
    drawnAsExpected(t, await draw(model, options, 60, 16), p, JSON.stringify(options));
  });
});

t.test("topK 1 is greedy at any temperature", async (t) => {
  const model = await load(t, families.opt);
  const wanted = (await model.generate(prompt, greedy(16))).tokenIds;
  const result = await model.generate(prompt, { ...greedy(16), temperature: 5, topK: 1, seed: 9 });
  t.same([...result.tokenIds], [...wanted]);
});
