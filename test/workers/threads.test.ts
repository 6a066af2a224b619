// Several environments in one process: each worker loads the addon and runs models of its own.

import { Worker } from "node:worker_threads";

import t from "tap";

import { greedy, load, within } from "../helpers/engine.js";
import { bundledModel, families, libraryUrl } from "../helpers/paths.js";
import { randomIds } from "../helpers/random.js";

t.setTimeout(180_000);

/** A worker that runs module code; `post` sends a value to the test. */
function startWorker(code: string): Worker {
  const source = `
    import { parentPort } from "node:worker_threads";
    import { loadModel } from ${JSON.stringify(libraryUrl)};
    const post = (value) => parentPort.postMessage(value);
    ${code}`;
  // Without the hooks of the test runner.
  return new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), { execArgv: [], env: {} });
}

/** All messages until the worker ends, and its exit code. */
function outcome(worker: Worker): Promise<{ messages: unknown[]; code: number }> {
  const messages: unknown[] = [];
  return new Promise((resolve, reject) => {
    worker.on("message", (message) => messages.push(message));
    worker.on("error", reject);
    worker.on("exit", (code) => resolve({ messages, code }));
  });
}

const firstMessage = (worker: Worker): Promise<unknown> => new Promise((resolve) => worker.once("message", resolve));

t.test("two workers and the main thread generate side by side, with the same tokens", async (t) => {
  const prompts = [randomIds(1, 60), randomIds(2, 17), randomIds(3, 5)];
  const model = await load(t, families.opt);
  const code = `
    const model = await loadModel(${JSON.stringify(families.opt)}, { device: "cpu" });
    for (let round = 0; round < 4; ++round) {
      const results = await model.generate(${JSON.stringify(prompts)}, { maxTokens: 40, ignoreEos: true });
      post(results.map((result) => [...result.tokenIds]));
    }`;
  const workers = [outcome(startWorker(code)), outcome(startWorker(code))];
  const mine = (await model.generate(prompts, greedy(40))).map((result) => [...result.tokenIds]);
  for (const { messages, code } of await within(Promise.all(workers), "two workers")) {
    t.equal(code, 0, "a worker ends by itself, its model loaded");
    t.same(messages, [mine, mine, mine, mine]);
  }
  t.same((await model.generate(prompts, greedy(40))).map((result) => [...result.tokenIds]), mine, "and the main thread goes on");
});

t.test("terminate in mid-flight ends the worker alone", async (t) => {
  const model = await load(t, families.opt);
  const before = [...(await model.generate(randomIds(4, 30), greedy(20))).tokenIds];
  for (const schedule of ["sequential", "chunked", "split"]) {
    const worker = startWorker(`
      const model = await loadModel(${JSON.stringify(bundledModel)}, { device: "cpu", schedule: "${schedule}" });
      const prompt = Array.from({ length: 40 }, (_, i) => 4 + i);
      const streams = [1, 2, 3].map(() => model.stream(prompt, { maxTokens: 1900, ignoreEos: true }));
      void model.prefill(Array.from({ length: 1900 }, (_, i) => 4 + i % 90)).catch(() => {});
      for await (const delta of streams[0]) if (delta.tokenIds.length > 0) post("running");`);
    t.equal(await within(firstMessage(worker), "the worker's first token"), "running");
    await within(worker.terminate(), `${schedule}: terminate`);
    const after = [...(await model.generate(randomIds(4, 30), greedy(20))).tokenIds];
    t.same(after, before, `${schedule}: the main thread's model goes on`);
  }
});

t.test("terminate while a model is being loaded ends the worker alone", async (t) => {
  for (let i = 0; i < 5; ++i) {
    const worker = startWorker(`
      post("loading");
      await loadModel(${JSON.stringify(bundledModel)}, { device: "cpu" });`);
    await within(firstMessage(worker), "the worker's start");
    await within(worker.terminate(), "terminate");
  }
  const model = await load(t, families.opt);
  t.equal((await model.generate([5], greedy(3))).tokenIds.length, 3);
});

t.test("a worker that throws with requests in mid-flight reports its error", async (t) => {
  const worker = startWorker(`
    const model = await loadModel(${JSON.stringify(families.opt)}, { device: "cpu" });
    model.stream([5, 6, 7], { maxTokens: 150, ignoreEos: true });
    throw new Error("a worker's own mistake");`);
  await t.rejects(within(outcome(worker), "the worker"), { message: "a worker's own mistake" });
});
