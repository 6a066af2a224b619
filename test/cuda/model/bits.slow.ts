// Invariant 1 on the GPU: the same bits in every schedule, partition, SM count, batch, chunk size and order of the device's
// work. Pairwise over these; `SPLITWISER_TEST_LONG=1` takes the full product.

import t from "tap";

import { families } from "../../helpers/paths.js";
import { nothingFound, runOnDevice, type Settings } from "./simulator.js";

t.setTimeout(1_800_000);

interface Case {
  schedule: "sequential" | "chunked" | "split";
  partition: "green-context" | "mps" | "cta-quota" | "priority" | "none";
  sms: number;
  batch: number;
  chunk: number;
  seed: number;
}

const values: { [K in keyof Case]: readonly Case[K][] } = {
  schedule: ["sequential", "chunked", "split"],
  partition: ["green-context", "mps", "cta-quota", "priority", "none"],
  sms: [16, 24, 132],
  batch: [1, 3, 17],
  chunk: [1, 40, 512],
  seed: [1, 2, 3],
};
const names = Object.keys(values) as (keyof Case)[];

function fullProduct(): Case[] {
  let cases: Partial<Case>[] = [{}];
  for (const name of names) cases = cases.flatMap((one) => values[name].map((value) => ({ ...one, [name]: value })));
  return cases as Case[];
}

/** Every pair of values of two parameters is in some case: greedily, the case with most new pairs first. */
function pairwise(): Case[] {
  const pairsOf = (one: Case): string[] =>
    names.flatMap((a, i) => names.slice(i + 1).map((b) => `${a}=${one[a]} ${b}=${one[b]}`));
  const all = fullProduct();
  const wanted = new Set(all.flatMap(pairsOf));
  const chosen: Case[] = [];
  while (wanted.size > 0) {
    let best = all[0] as Case;
    let most = -1;
    for (const one of all) {
      const fresh = pairsOf(one).filter((pair) => wanted.has(pair)).length;
      if (fresh > most) [best, most] = [one, fresh];
    }
    for (const pair of pairsOf(best)) wanted.delete(pair);
    chosen.push(best);
  }
  return chosen;
}

/** A hash of every logit and the tokens of a subject that runs among others. */
function program(family: keyof typeof families, { schedule, partition, batch, chunk }: Case): string {
  return `
    import { createHash } from "node:crypto";
    const model = await loadModel(${JSON.stringify(families[family])}, {
      device: "cuda", schedule: ${JSON.stringify(schedule)}, partition: ${JSON.stringify(partition)}, maxBatchTokens: ${chunk},
    });
    const lengths = [90, 1, 2, 5, 15, 16, 17, 33, 63, 64, 65, 100, 3, 7, 8, 31, 40].slice(0, ${batch});
    const prompts = lengths.map((length, i) => ids(length, i + 1));
    const options = { maxTokens: 8, ignoreEos: true };
    const [logits, plain, sampled] = await Promise.all([
      model.logits(prompts[0]),
      model.generate(prompts, options),
      model.generate(prompts, { ...options, temperature: 1, topP: 0.9, seed: 5, logprobs: 2 }),
    ]);
    say({
      logits: createHash("sha256").update(Buffer.from(logits.data.buffer)).digest("hex"),
      plain: plain.map((one) => [...one.tokenIds]),
      sampled: sampled.map((one) => [[...one.tokenIds], one.logprobs]),
      partition: model.device.partition,
      lanes: model.device.lanes,
    });
    await model.dispose();`;
}

interface Picture {
  logits: string;
  plain: number[][];
  sampled: unknown[];
  partition: string;
}

const settingsOf = ({ partition, sms, seed }: Case): Settings => ({
  SMS: sms, SEED: seed, MMA_SEED: 1, MPS: partition === "mps" ? 1 : 0, GREEN: partition === "mps" ? 0 : 1,
});
const textOf = (one: Case): string => names.map((name) => `${name} ${one[name]}`).join(", ");
const cases = process.env["SPLITWISER_TEST_LONG"] === "1" ? fullProduct() : pairwise();

for (const family of ["opt", "opt-350m"] as const) {
  const mine = family === "opt" ? cases : cases.slice(0, 4);
  t.test(`${family}: the same bits in ${mine.length} ways of running`, async (t) => {
    const base: Case = { schedule: "sequential", partition: "none", sms: 16, batch: 17, chunk: 512, seed: 1 };
    const first = await runOnDevice(t, settingsOf(base), program(family, base));
    const expected = first.said[0] as Picture;
    t.equal(expected.plain.length, 17);
    for (const one of mine) {
      await t.test(textOf(one), async (t) => {
        const { said, report } = await runOnDevice(t, settingsOf(one), program(family, one));
        const got = said[0] as Picture;
        t.equal(got.partition, one.partition, "the partition that was asked for");
        t.equal(got.logits, expected.logits, "logits");
        t.same(got.plain, expected.plain.slice(0, one.batch), "greedy tokens");
        t.same(got.sampled, expected.sampled.slice(0, one.batch), "sampled tokens and log probabilities");
        nothingFound(t, report);
      });
    }
  });
}
