// A small cache: requests that cannot fit yet wait, what can never fit is refused with the numbers.

import { setImmediate as nextTurn } from "node:timers/promises";

import t from "tap";

import type { Completion, LoadOptions } from "../../dist/index.js";
import { allPagesFree, attempt, exactly, greedy, inTurn, load, patience, refusal, schedules, within } from "../helpers/engine.js";
import { families } from "../helpers/paths.js";
import { randomIds } from "../helpers/random.js";

t.setTimeout(patience * 120_000);

/** Bytes of one page of the tiny OPT in float32: keys and values, 2 layers, 2 heads of 64, 16 tokens. */
const pageBytes = 2 * 2 * 2 * 64 * 16 * 4;
const withPages = (pages: number): LoadOptions => ({ kvCacheType: "f32", pageSize: 16, kvCacheBytes: pages * pageBytes });

t.test("kvCacheBytes sets the number of pages", async (t) => {
  const model = await load(t, families.opt, withPages(13));
  t.same(model.stats().pages, { total: 13, free: 13, used: 0, cached: 0 });
});

t.test("two requests with pages for one: the second waits, both end, with the tokens they have alone", async (t) => {
  const roomy = await load(t, families.opt, { kvCacheType: "f32" });
  const prompts = [randomIds(401, 100), randomIds(402, 90), randomIds(403, 120)];
  const alone = await inTurn(prompts, async (prompt) => exactly(await roomy.generate(prompt, greedy(60))));
  const model = await load(t, families.opt, withPages(13));
  for (const schedule of schedules) {
    await model.configure({ schedule });
    const results = await within(Promise.all(prompts.map((prompt) => model.generate(prompt, greedy(60)))), schedule);
    t.same(results.map(exactly), alone, schedule);
    await allPagesFree(t, model, schedule);
  }
});

t.test("many requests go through a cache of few pages", async (t) => {
  const model = await load(t, families.opt, withPages(12));
  const prompts = Array.from({ length: 30 }, (_, i) => randomIds(420 + i, 1 + ((i * 37) % 130)));
  for (const schedule of schedules) {
    await model.configure({ schedule, maxBatchTokens: 24 });
    const results: Completion[] = await within(model.generate(prompts, greedy(40)), schedule);
    t.ok(results.every((result) => result.tokenIds.length === 40), `${schedule}: all have their tokens`);
    await allPagesFree(t, model, schedule);
  }
});

t.test("a held sequence's pages count: a request waits for them and runs once they are free", async (t) => {
  const model = await load(t, families.opt, withPages(12));
  const held = await model.prefill(randomIds(404, 100));
  let ended = false;
  const waiting = model.generate(randomIds(405, 100), greedy(40)).finally(() => {
    ended = true;
  });
  for (let turn = 0; turn < 300; ++turn) await nextTurn();
  t.equal(ended, false, "the large one still waits");
  t.equal(model.stats().waiting, 1);
  await held.dispose();
  t.equal((await within(waiting, "the request that waited")).tokenIds.length, 40);
  await allPagesFree(t, model);
});

t.test("maxModelLen is lowered to what the cache holds, and the model says so", async (t) => {
  const model = await load(t, families.opt, withPages(4));
  t.equal(model.config.maxModelLen, 64);
  t.equal((await model.generate(randomIds(407, 60), { ignoreEos: true })).tokenIds.length, 4);
  const error = await refusal(attempt(() => model.generate(randomIds(407, 70), greedy(4))));
  t.equal(error.code, "PROMPT_TOO_LONG");
  t.match(error.message, /\b70\b/, "the message has the prompt's length");
  t.match(error.message, /\b6[34]\b/, "and the model's");
});

t.test("what can never fit is refused at once, with the numbers", async (t) => {
  const model = await load(t, families.opt, withPages(4));
  const blocker = model.generate(randomIds(408, 30), greedy(30));
  const error = await refusal(attempt(() => model.generate(randomIds(409, 40), { ...greedy(20), n: 8 })));
  t.equal(error.code, "OUT_OF_MEMORY");
  t.match(error.message, /\d+ (KV )?pages/, "the message has the pages that are needed");
  t.match(error.message, /\b4\b/, "and those that there are");
  t.equal((await within(blocker, "the request beside it")).tokenIds.length, 30, "the request beside it is untouched");
  await allPagesFree(t, model);
});
