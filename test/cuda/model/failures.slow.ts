// What a GPU does to those who use it: no driver, too old, full, lost. Each is a typed error with its remedy, and the CPU
// goes on.

import t, { type Test } from "tap";

import { bundledModel, families } from "../../helpers/paths.js";
import { runOnDevice, type Settings } from "./simulator.js";

t.setTimeout(600_000);

const refusal = `
  const attempt = async (options) => {
    try {
      const model = await loadModel(${JSON.stringify(families.opt)}, options);
      const id = model.device.id;
      await model.dispose();
      return { id };
    } catch (error) {
      return { code: error.code, message: error.message };
    }
  };
`;

t.test("a driver that cannot be used says why, and auto takes the CPU and says so", async (t) => {
  const cases: [Settings, RegExp][] = [
    [{ NO_DEVICE: 1 }, /no CUDA device|no GPU|NO_DEVICE/i],
    [{ DRIVER_VERSION: 12080 }, /13\.0|580/],
    [{ MISSING: "cuLibraryLoadData" }, /cuLibraryLoadData/],
  ];
  for (const [settings, words] of cases) {
    const { said } = await runOnDevice(t, settings, `
      ${refusal}
      const [, cuda] = devices();
      say(cuda);
      say(await attempt({ device: "cuda" }));
      const model = await loadModel(${JSON.stringify(families.opt)});
      say({ id: model.device.id, why: model.device.why });
      await model.dispose();`);
    const [cuda, named, auto] = said as [{ available: boolean; reason: string }, { code: string; message: string }, { id: string; why: string }];
    t.equal(cuda.available, false);
    t.match(cuda.reason, words);
    t.equal(named.code, "DEVICE_UNAVAILABLE");
    t.match(named.message, words);
    t.equal(auto.id, "cpu");
    t.match(auto.why, words);
  }
});

t.test("CUDA that another library has initialised is used, and the user is told what it costs", async (t) => {
  for (const [settings, notes] of [
    [{ INITIALISED: 1 }, [/before splitwiser.*CUDA_DEVICE_MAX_CONNECTIONS=32/]],
    [{}, []],
  ] as const) {
    const { said } = await runOnDevice(t, settings, `
      const model = await loadModel(${JSON.stringify(families.opt)}, { device: "cuda" });
      say(model.device.partitionNotes);
      await model.dispose();`);
    t.match(said, [notes]);
    t.equal((said[0] as string[]).length, notes.length);
  }
});

t.test("memory that is not there is OUT_OF_MEMORY, before and while it is taken, and nothing stays behind", async (t) => {
  const small = await runOnDevice(t, { MEMORY: "4M" }, `${refusal} say(await attempt({ device: "cuda" }));`);
  t.match(small.said[0], { code: "OUT_OF_MEMORY" });
  for (const n of [1, 2, 3, 5]) {
    const { said, report } = await runOnDevice(t, { FAIL: `alloc:${n}` }, `
      ${refusal}
      say(await attempt({ device: "cuda" }));
      say(await attempt({ device: "cuda" }));`);
    t.match(said[0], { code: "OUT_OF_MEMORY" }, `allocation ${n}`);
    t.match(said[1], { id: "cuda:0" }, "the next load finds its memory");
    t.same(report.leaks, [], "nothing is left allocated");
  }
});

/** Launches of a program that only loads: the n-th one after these belongs to a request. */
async function launchesOf(t: Test, load: string): Promise<number> {
  const { report } = await runOnDevice(t, { SMS: 16 }, `${load} await Promise.all(models.map((model) => model.dispose()));`);
  return (report.calls["cuLaunchKernelEx"] ?? 0) + (report.calls["cuGraphLaunch"] ?? 0);
}

t.test("a lost device ends every engine on it with what it had; the CPU and Node live on", async (t) => {
  const load = `
    const folder = ${JSON.stringify(bundledModel)};
    const options = { device: "cuda", schedule: "split" };
    const models = [await loadModel(folder, options), await loadModel(folder, options), await loadModel(folder, { device: "cpu" })];
    const [one, other, cpu] = models;`;
  const { said } = await runOnDevice(t, { SMS: 16, FAIL: `lost:${(await launchesOf(t, load)) + 150}` }, `
    ${refusal}
    ${load}
    const outcome = (promise) => promise.then((result) => ({ tokens: result.tokenIds.length }),
      (error) => ({ code: error.code, message: error.message, partial: error.partial?.tokenIds.length }));
    const endless = { maxTokens: 1500, ignoreEos: true };
    const running = [one, one, other].map((model, i) => outcome(model.generate(ids(20, i), endless)));
    say(await Promise.all(running));
    say(await outcome(one.generate(ids(5), { maxTokens: 2 })));
    say(await outcome(other.generate(ids(5), { maxTokens: 2 })));
    say(await attempt({ device: "cuda" }));
    say(await outcome(cpu.generate(ids(5), { maxTokens: 2, ignoreEos: true })));
    await Promise.all([one.dispose(), other.dispose(), cpu.dispose()]);`);
  const [running, again, otherAgain, loaded, cpu] = said as [{ code: string; partial: number }[], unknown, unknown, { code: string; message: string }, unknown];
  for (const one of running) t.equal(one.code, "DEVICE_LOST");
  t.ok(running.some((one) => one.partial > 0), "what was generated is there", { running });
  t.match(again, { code: "DEVICE_LOST" });
  t.match(otherAgain, { code: "DEVICE_LOST" });
  t.match(loaded, { code: /DEVICE_LOST|DEVICE_UNAVAILABLE/ });
  t.match(loaded.message, /start the process anew/, "the remedy");
  t.match(cpu, { tokens: 2 });
});

t.test("a launch that fails once ends the requests of its step, and no others", async (t) => {
  const load = `
    const models = [await loadModel(${JSON.stringify(families.opt)}, { device: "cuda", schedule: "split" })];
    const [model] = models;`;
  const { said } = await runOnDevice(t, { SMS: 16, FAIL: `launch:${(await launchesOf(t, load)) + 120}` }, `
    ${load}
    const outcomes = [];
    for (let i = 0; i < 12; i++) {
      outcomes.push(await model.generate(ids(9, i), { maxTokens: 20, ignoreEos: true }).then((one) => one.tokenIds.length, (error) => error.code));
    }
    say(outcomes);
    say(model.stats().pages);
    await model.dispose();`);
  const outcomes = said[0] as (number | string)[];
  t.equal(outcomes.filter((one) => one === 20).length, 11, "eleven of twelve end well", { outcomes });
  t.match(said[1], { used: 0 }, "every page is free");
});
