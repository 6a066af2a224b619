// The event loop turns while native threads compute: JavaScript is never on the path of a step.

import { setImmediate as nextTurn } from "node:timers/promises";

import t from "tap";

import { greedy, load, schedules, within } from "../helpers/engine.js";
import { bundledModel } from "../helpers/paths.js";
import { randomIds } from "../helpers/random.js";
import { randomModel } from "../helpers/synthetic.js";
import { loadModel } from "../../dist/index.js";

t.setTimeout(120_000);

/** Turns of the event loop until the promise is settled. */
async function turnsDuring(promise: Promise<unknown>): Promise<number> {
  let done = false;
  let turns = 0;
  const settled = promise.finally(() => {
    done = true;
  });
  while (!done) {
    await nextTurn();
    turns += 1;
  }
  await settled;
  return turns;
}

t.test("the event loop turns during a long prefill", async (t) => {
  const model = await load(t, bundledModel);
  for (const schedule of schedules) {
    await model.configure({ schedule, maxBatchTokens: 2048 });
    // One step of 2000 tokens: were it on the main thread, a handful of turns would be all.
    const turns = await within(turnsDuring(model.generate(randomIds(1, 2000), { maxTokens: 1 })), schedule);
    t.ok(turns > 100, `${schedule}: more than a hundred turns`, { turns });
  }
});

t.test("the event loop turns while tokens are generated, and while logits of many positions are computed", async (t) => {
  const model = await load(t, bundledModel);
  const batch = Array.from({ length: 8 }, (_, i) => randomIds(10 + i, 30));
  const turns = await within(turnsDuring(model.generate(batch, greedy(100))), "a batch");
  t.ok(turns > 100, "during decode", { turns });
  const reading = await within(turnsDuring(model.logits(randomIds(2, 600))), "logits");
  t.ok(reading > 20, "during logits", { reading });
});

t.test("the event loop turns while a model is loaded", async (t) => {
  const folder = randomModel(t, { layers: 4, hidden: 512, heads: 8, ffn: 2048, vocab: 8000, positions: 1024 });
  let loaded: Awaited<ReturnType<typeof loadModel>> | undefined;
  const turns = await within(
    turnsDuring(loadModel(folder, { device: "cpu", dtype: "f16" }).then((model) => (loaded = model))),
    "a load",
  );
  t.ok(turns > 20, "during the load", { turns });
  await loaded?.dispose();
});
