// A model that the program forgets is collected, with its threads and its memory.

import t from "tap";

import { bundledModel } from "../helpers/paths.js";
import { runScript, said } from "../helpers/script.js";

t.setTimeout(180_000);

const flags = ["--expose-gc"];

/** Collects until the condition holds; false after many rounds. */
const collectUntil = `
  const collectUntil = async (holds) => {
    for (let round = 0; round < 400; ++round) {
      if (holds()) return true;
      globalThis.gc();
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return false;
  };`;

t.test("a forgotten model is collected after its requests ended", async (t) => {
  const result = await runScript(
    `${collectUntil}
    let collected = 0;
    const registry = new FinalizationRegistry(() => (collected += 1));
    const use = async () => {
      const model = await loadModel(${JSON.stringify(bundledModel)}, { device: "cpu" });
      registry.register(model, "");
      for await (const delta of model.stream(ids(30), { maxTokens: 20, ignoreEos: true })) void delta;
      await model.generate([ids(10), ids(20)], { maxTokens: 5 });
      const sequence = await model.prefill(ids(20));
      await sequence.decode({ maxTokens: 3 }).result;
    };
    for (let i = 0; i < 3; ++i) await use();
    say(await collectUntil(() => collected === 3));`,
    { flags },
  );
  t.equal(result.signal, null, "no crash", { result });
  t.equal(result.code, 0, "no error", { result });
  t.same(said(result), [true]);
});

t.test("a model forgotten in mid-flight does not crash, and its requests end", async (t) => {
  const result = await runScript(
    `${collectUntil}
    let ended = 0;
    const use = async () => {
      const model = await loadModel(${JSON.stringify(bundledModel)}, { device: "cpu" });
      for (const seed of [1, 2]) {
        model.generate(ids(40, seed), { maxTokens: 300, ignoreEos: true }).finally(() => (ended += 1)).catch(() => {});
      }
    };
    await use();
    say(await collectUntil(() => ended === 2));`,
    { flags },
  );
  t.equal(result.signal, null, "no crash", { result });
  t.equal(result.code, 0, "no error", { result });
  t.same(said(result), [true]);
});

t.test("a forgotten model gives its memory back", async (t) => {
  // A cache of 64 MB and one held sequence in it per model: 30 models that stayed would hold 2 GB.
  const result = await runScript(
    `${collectUntil}
    let collected = 0;
    const registry = new FinalizationRegistry(() => (collected += 1));
    const use = async () => {
      const model = await loadModel(${JSON.stringify(bundledModel)}, { device: "cpu", kvCacheBytes: 64 * 2 ** 20 });
      registry.register(model, "");
      await model.prefill(ids(1000));
    };
    for (let i = 0; i < 12; ++i) {
      await use();
      await collectUntil(() => collected > i);
    }
    say(collected);
    say(process.memoryUsage.rss() < 600 * 2 ** 20);`,
    { flags, limitMs: 120_000 },
  );
  t.equal(result.signal, null, "no crash", { result });
  t.same(said(result), [12, true], "", { result });
});
