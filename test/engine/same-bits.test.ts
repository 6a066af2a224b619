// Invariant 1: a request's logits are the same bits whatever runs beside it and however its work is cut.

import t, { type Test } from "tap";

import type { Completion, Model } from "../../dist/index.js";
import { sameBits } from "../helpers/compare.js";
import { exactly, firstDelta, greedy, inTurn, load, patience, schedules, untilIdle, within } from "../helpers/engine.js";
import { families } from "../helpers/paths.js";
import { randomIds } from "../helpers/random.js";

t.setTimeout(patience * 120_000);

const lengths = [130, 1, 2, 3, 5, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 100, 128];
const prompts = lengths.map((length, i) => randomIds(100 + i, length));
const subject = prompts[0] as number[];
const options = { ...greedy(20), logprobs: 3 };

/** All that can be seen of one prompt: every logit, and the tokens and log probabilities that follow. */
interface Picture {
  logits: Float32Array;
  last: Float32Array;
  generated: string;
}

async function picture(model: Model, prompt: number[]): Promise<Picture> {
  const logits = await within(model.logits(prompt), "logits");
  const sequence = await within(model.prefill(prompt), "a prefill");
  const { data: last } = await sequence.logits();
  await sequence.dispose();
  return { logits: logits.data, last, generated: exactly(await within(model.generate(prompt, options), "generate")) };
}

function samePicture(t: Test, actual: Picture, expected: Picture, name: string): void {
  sameBits(t, actual.logits, expected.logits, `${name}: logits of every position`);
  sameBits(t, actual.last, expected.last, `${name}: logits of the held sequence`);
  t.equal(actual.generated, expected.generated, `${name}: tokens and log probabilities`);
}

const bases = [
  { family: "opt", kvCacheType: "f32" },
  { family: "opt", kvCacheType: "f16" },
  { family: "opt-350m", kvCacheType: "bf16" },
] as const;

for (const { family, kvCacheType } of bases) {
  t.test(`${family}, cache ${kvCacheType}: the same bits for every cut, schedule, share, page size and team`, async (t) => {
    const base = { kvCacheType, threads: 1, pageSize: 16, schedule: "sequential" } as const;
    const model = await load(t, families[family], base);
    const expected = await picture(model, subject);
    const lastRow = expected.logits.subarray(-expected.logits.length / subject.length);
    sameBits(t, expected.last, Float32Array.from(lastRow), "a held sequence has the logits of its last position");

    for (const schedule of schedules) {
      for (const maxBatchTokens of [1, 7, 16, 64]) {
        await model.configure({ schedule, maxBatchTokens });
        samePicture(t, await picture(model, subject), expected, `${schedule}, chunks of ${maxBatchTokens}`);
      }
    }
    const others = [
      { threads: 2, pageSize: 16 },
      { threads: 2, pageSize: 64 },
    ];
    for (const { threads, pageSize } of others) {
      const other = await load(t, families[family], { ...base, threads, pageSize });
      for (const prefillShare of [0.25, 0.5, 0.75]) {
        await other.configure({ schedule: "split", prefillShare, maxBatchTokens: 33 });
        const name = `${threads} threads, pages of ${pageSize}, split ${prefillShare}`;
        samePicture(t, await picture(other, subject), expected, name);
      }
      for (const schedule of ["sequential", "chunked"] as const) {
        await other.configure({ schedule, maxBatchTokens: 512 });
        samePicture(t, await picture(other, subject), expected, `${threads} threads, pages of ${pageSize}, ${schedule}`);
      }
    }
  });

  t.test(`${family}, cache ${kvCacheType}: the same bits alone and in a batch of 17 mixed lengths`, async (t) => {
    const model = await load(t, families[family], { kvCacheType, threads: 2 });
    await model.configure({ schedule: "sequential" });
    const alone = await inTurn(prompts, (prompt) => picture(model, prompt));
    for (const schedule of schedules) {
      for (const maxBatchTokens of [24, 512]) {
        await model.configure({ schedule, maxBatchTokens });
        const name = `${schedule}, ${maxBatchTokens} tokens a step`;
        const together = await within(Promise.all(prompts.map((prompt) => picture(model, prompt))), "a batch");
        const batch = await within(model.generate(prompts, options), "a batch call");
        const wrong = lengths.filter((_, i) => exactly(batch[i] as Completion) !== alone[i]?.generated);
        t.same(wrong, [], `${name}: one batch call, no prompt length differs`);
        together.forEach((one, i) => {
          samePicture(t, one, alone[i] as Picture, `${name}, prompt of ${lengths[i] as number}`);
        });
      }
    }
  });
}

t.test("prompt log probabilities are the same bits as those of tokens that were decoded", async (t) => {
  const model = await load(t, families.opt);
  for (const schedule of schedules) {
    await model.configure({ schedule, maxBatchTokens: 16 });
    const decoded = await model.generate(subject, { ...greedy(40), logprobs: 0 });
    const again = await model.generate([...subject, ...decoded.tokenIds], { maxTokens: 1, promptLogprobs: 0 });
    const tail = (again.promptLogprobs ?? []).slice(subject.length);
    t.equal(tail.length, 40, `${schedule}: one entry per token`);
    t.same(
      tail.map((entry) => entry?.logprob),
      (decoded.logprobs ?? []).map((entry) => entry.logprob),
      `${schedule}: the prefill lane and the decode lane agree to the last bit`,
    );
  }
});

t.test("an abort of a neighbour changes no bit", async (t) => {
  const model = await load(t, families.opt);
  const expected = await picture(model, subject);
  for (const schedule of schedules) {
    await model.configure({ schedule, maxBatchTokens: 16 });
    const neighbours = prompts.slice(9, 13).map((prompt) => model.stream(prompt, greedy(64)));
    await Promise.all(neighbours.map(firstDelta));
    const running = picture(model, subject);
    neighbours.forEach((neighbour) => neighbour.abort());
    samePicture(t, await running, expected, schedule);
    await Promise.allSettled(neighbours.map((neighbour) => neighbour.result));
    await untilIdle(model);
    samePicture(t, await picture(model, subject), expected, `${schedule}, on the pages that the neighbours left`);
  }
});

t.test("a change of schedule in mid-flight changes no token", async (t) => {
  const model = await load(t, families.opt, { schedule: "sequential" });
  const short = prompts[4] as number[];
  const long = { ...greedy(150), logprobs: 1 };
  const expected = exactly(await model.generate(short, long));
  const stream = model.stream(short, long);
  let seen = 0;
  for await (const delta of stream) {
    seen += delta.tokenIds.length;
    const schedule = schedules[seen % 3] ?? "split";
    await model.configure({ schedule, maxBatchTokens: 1 + (seen % 9), prefillShare: 0.3 + 0.4 * (seen % 2) });
  }
  t.equal(exactly(await stream.result), expected);
});
