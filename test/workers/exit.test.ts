// How a process with a loaded model ends: by itself when nothing runs, and without a crash whatever runs.

import t, { type Test } from "tap";

import { bundledModel } from "../helpers/paths.js";
import { runScript, said, type ScriptResult } from "../helpers/script.js";

t.setTimeout(180_000);

const load = `const model = await loadModel(${JSON.stringify(bundledModel)}, { device: "cpu" });`;
const long = `{ maxTokens: 1900, ignoreEos: true }`;

function endedWith(t: Test, result: ScriptResult, code: number): void {
  t.notOk(result.hung, "it ends by itself", { result });
  t.equal(result.signal, null, "no signal ended it", { result });
  t.equal(result.code, code, "with the exit code of the program", { result });
}

t.test("Node exits by itself with an idle model loaded and never disposed of", async (t) => {
  const result = await runScript(`${load}
    const { tokenIds } = await model.generate(ids(20), { maxTokens: 4, ignoreEos: true });
    say(tokenIds.length);`);
  endedWith(t, result, 0);
  t.same(said(result), [4]);
});

t.test("Node exits by itself with a held sequence, and after a stream that was left early", async (t) => {
  const result = await runScript(`${load}
    const sequence = await model.prefill(ids(40));
    for await (const delta of sequence.decode(${long})) if (delta.tokenIds.length > 0) break;
    say(sequence.length >= 40);`);
  endedWith(t, result, 0);
  t.same(said(result), [true]);
});

t.test("Node stays while a request runs, though nobody waits for it", async (t) => {
  const result = await runScript(`${load}
    model.generate(ids(300), { maxTokens: 200, ignoreEos: true }).then(({ tokenIds }) => say(tokenIds.length));`);
  endedWith(t, result, 0);
  t.same(said(result), [200]);
});

t.test("dispose in mid-flight rejects what runs, and the process ends", async (t) => {
  const result = await runScript(`${load}
    const streams = [1, 2, 3].map((seed) => model.stream(ids(50, seed), ${long}));
    for await (const delta of streams[0]) { if (delta.tokenIds.length > 0) { void model.dispose(); break; } }
    const prefill = model.prefill(ids(1500));
    const calls = [...streams.slice(1).map((stream) => stream.result), prefill];
    await Promise.all(calls.map((call) => call.catch((error) => say(error.code))));
    await model.dispose();`);
  endedWith(t, result, 0);
  t.same(said(result), ["DISPOSED", "DISPOSED", "DISPOSED"]);
});

t.test("process.exit in mid-flight ends the process with its code", async (t) => {
  for (const schedule of ["sequential", "chunked", "split"]) {
    const result = await runScript(`${load}
      await model.configure({ schedule: "${schedule}" });
      const stream = model.stream(ids(50), ${long});
      void model.prefill(ids(1800)).catch(() => {});
      for await (const delta of stream) if (delta.tokenIds.length > 0) process.exit(7);`);
    endedWith(t, result, 7);
  }
});

t.test("process.exit while a model is being loaded ends the process with its code", async (t) => {
  const result = await runScript(`
    void loadModel(${JSON.stringify(bundledModel)}, { device: "cpu" });
    setImmediate(() => process.exit(5));`);
  endedWith(t, result, 5);
});

t.test("an error that nobody catches ends the process as always, with requests in mid-flight", async (t) => {
  const result = await runScript(`${load}
    const stream = model.stream(ids(50), ${long});
    for await (const delta of stream) if (delta.tokenIds.length > 0) setImmediate(() => { throw new Error("out of the blue"); });`);
  endedWith(t, result, 1);
  t.match(result.stderr, /out of the blue/);
});

t.test("the library prints nothing by itself", async (t) => {
  const result = await runScript(`${load}
    await model.generate(ids(20), { maxTokens: 4 });
    await model.generate(ids(20), { temperature: NaN }).catch(() => {});
    await model.dispose();`);
  endedWith(t, result, 0);
  t.equal(result.stdout, "");
  t.equal(result.stderr, "");
});
