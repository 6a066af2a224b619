// Ending a request from outside: signals, deadlines, leaving a stream, disposing of the model.

import { setImmediate as nextTurn } from "node:timers/promises";

import t from "tap";

import { SplitwiserError } from "../../dist/index.js";
import { allPagesFree, attempt, firstDelta, greedy, load, patience, refusal, schedules, within } from "../helpers/engine.js";
import { bundledModel, families } from "../helpers/paths.js";
import { randomIds } from "../helpers/random.js";
import { scriptedModel } from "../helpers/synthetic.js";

t.setTimeout(patience * 120_000);

const reason = new Error("the user went away");
const long = { maxTokens: 1900, ignoreEos: true } as const;
const prompt = randomIds(501, 40);

t.test("a signal that fired before refuses the request with its reason as cause", async (t) => {
  const model = await load(t, families.opt);
  const signal = AbortSignal.abort(reason);
  const calls = [
    () => model.generate(prompt, { signal }),
    () => model.generate([prompt, prompt], { signal }),
    () => model.stream(prompt, { signal }).result,
    () => model.prefill(prompt, { signal }),
  ];
  for (const call of calls) {
    const error = await refusal(attempt(call));
    t.equal(error.code, "ABORTED");
    t.equal(error.name, "AbortError");
    t.equal(error.cause, reason);
  }
  await allPagesFree(t, model);
});

t.test("a signal that fires in the same turn, and one that fires in mid-flight", async (t) => {
  const model = await load(t, bundledModel);
  const whole = (await model.generate(prompt, { ...long, maxTokens: 600 })).tokenIds;
  for (const schedule of schedules) {
    await model.configure({ schedule });
    const early = new AbortController();
    const first = model.generate(prompt, { ...long, signal: early.signal });
    early.abort(reason);
    t.equal((await refusal(first)).cause, reason, `${schedule}: at once`);

    const late = new AbortController();
    const stream = model.stream(prompt, { ...long, signal: late.signal });
    await firstDelta(stream);
    late.abort(reason);
    const error = await refusal(stream.result);
    t.equal(error.code, "ABORTED", `${schedule}: in mid-flight`);
    t.equal(error.cause, reason);
    const partial = error.partial;
    t.equal(partial?.finishReason, "abort");
    const tokens = [...(partial?.tokenIds ?? [])];
    t.ok(tokens.length > 0, "it had begun");
    t.same(tokens.slice(0, 600), whole.slice(0, tokens.length), "what there is, is the beginning of the whole");
    t.equal(partial?.text, await model.tokenizer.decode(tokens), "with its text");
    t.equal(partial?.timing.itlMs.length, tokens.length - 1, "and its times");
    await allPagesFree(t, model, schedule);
  }
});

t.test('onAbort "return" gives the partial completion instead', async (t) => {
  const model = await load(t, bundledModel);
  const stream = model.stream(prompt, { ...long, onAbort: "return" });
  await firstDelta(stream);
  stream.abort();
  const partial = await within(stream.result, "an aborted stream");
  t.equal(partial.finishReason, "abort");
  t.ok(partial.tokenIds.length > 0 && partial.tokenIds.length < 1900);

  const controller = new AbortController();
  const pending = model.generate(prompt, { ...long, onAbort: "return", signal: controller.signal });
  controller.abort();
  t.equal((await within(pending, "an aborted call")).finishReason, "abort");

  const past = await within(model.generate(prompt, { ...long, onAbort: "return", deadlineMs: 1 }), "past its deadline");
  t.equal(past.finishReason, "abort");
  await allPagesFree(t, model);
});

t.test("a request past its deadline rejects with what there is", async (t) => {
  const model = await load(t, bundledModel);
  for (const schedule of schedules) {
    await model.configure({ schedule });
    // 1900 tokens cannot be computed in 5 ms by any machine that this runs on.
    const error = await refusal(model.generate(prompt, { ...long, deadlineMs: 5 }));
    t.equal(error.code, "DEADLINE", schedule);
    t.equal(error.name, "SplitwiserError");
    t.equal(error.partial?.finishReason, "abort");
    t.ok((error.partial?.tokenIds.length ?? 1900) < 1900);
    await allPagesFree(t, model, schedule);
  }
  t.equal((await model.generate(prompt, { maxTokens: 2, deadlineMs: 60_000 })).tokenIds.length > 0, true, "one in time ends well");
});

t.test("leaving the loop early ends the request and frees its pages", async (t) => {
  const model = await load(t, bundledModel);
  for (const schedule of schedules) {
    await model.configure({ schedule });
    const stream = model.stream(prompt, long);
    for await (const delta of stream) if (delta.tokenIds.length > 0) break;
    t.equal((await refusal(stream.result)).code, "ABORTED", schedule);
    await allPagesFree(t, model, schedule);
  }
});

t.test("a stream throws in its loop what its result rejects with", async (t) => {
  const model = await load(t, bundledModel);
  const controller = new AbortController();
  const stream = model.stream(prompt, { ...long, signal: controller.signal });
  let caught: unknown;
  try {
    for await (const delta of stream) if (delta.tokenIds.length > 0) controller.abort(reason);
  } catch (error) {
    caught = error;
  }
  t.ok(caught instanceof SplitwiserError && caught.code === "ABORTED");
  t.equal((await refusal(stream.result)).code, "ABORTED");
});

t.test("an unread result that rejects is no unhandled rejection", async (t) => {
  const seen: unknown[] = [];
  const listener = (error: unknown): void => void seen.push(error);
  process.on("unhandledRejection", listener);
  t.teardown(() => process.off("unhandledRejection", listener));
  const model = await load(t, families.opt);
  model.stream(prompt, greedy(100)).abort();
  model.stream(prompt, { ...greedy(100), signal: AbortSignal.abort() });
  await allPagesFree(t, model);
  await new Promise((resolve) => setTimeout(resolve, 20));
  t.same(seen, []);
});

t.test("an aborted batch call has every prompt's own outcome in results", async (t) => {
  const model = await load(t, bundledModel);
  const prompts = [randomIds(502, 3), randomIds(503, 30), randomIds(504, 300)];
  const error = await refusal(model.generate(prompts, { ...long, deadlineMs: 5 }));
  t.equal(error.code, "DEADLINE");
  t.equal(error.results?.length, 3);
  for (const one of error.results ?? []) t.ok(one instanceof SplitwiserError && one.code === "DEADLINE");

  await allPagesFree(t, model);
});

t.test("in an aborted batch call a prompt that had ended keeps its completion", async (t) => {
  const { folder, prompts } = scriptedModel(t, { scripts: [[500, 2], []], vocab: 600, positions: 8000 });
  const model = await load(t, folder);
  const controller = new AbortController();
  const batch = model.generate(prompts, { maxTokens: 7900, signal: controller.signal });
  const pending = refusal(batch);
  while (model.stats().running !== 1 || model.stats().generatedTokens < 10) await nextTurn();
  controller.abort(reason);
  const error = await pending;
  t.equal(error.code, "ABORTED");
  const [ended, aborted] = error.results ?? [];
  t.same(ended instanceof SplitwiserError ? [] : ended?.tokenIds, [500, 2]);
  t.ok(aborted instanceof SplitwiserError && aborted.code === "ABORTED" && aborted.partial !== undefined);
  await allPagesFree(t, model);
});

t.test("an aborted prefill and an aborted wait free their pages and their place", async (t) => {
  const model = await load(t, bundledModel, { maxSequences: 1 });
  const running = model.stream(prompt, long);
  await firstDelta(running);
  const waits = new AbortController();
  const waiting = model.generate(randomIds(505, 100), { ...long, signal: waits.signal });
  const prefill = new AbortController();
  const computing = model.prefill(randomIds(506, 1500), { signal: prefill.signal });
  waits.abort();
  prefill.abort();
  const error = await refusal(waiting);
  t.equal(error.code, "ABORTED");
  t.same(error.partial?.tokenIds, [], "a request that only waited has no tokens");
  t.equal((await refusal(computing)).code, "ABORTED");
  running.abort();
  await refusal(running.result);
  await allPagesFree(t, model);
});

t.test("a request of higher priority goes before one that came earlier", async (t) => {
  const model = await load(t, families.opt, { maxSequences: 1, schedule: "sequential" });
  const order: string[] = [];
  const note = (name: string) => (): void => void order.push(name);
  const blocker = model.generate(prompt, greedy(100)).then(note("blocker"));
  const low = model.generate(prompt, { ...greedy(4), priority: -1 }).then(note("low"));
  const normal = model.generate(prompt, greedy(4)).then(note("normal"));
  const high = model.generate(prompt, { ...greedy(4), priority: 5 }).then(note("high"));
  await within(Promise.all([blocker, low, normal, high]), "four requests");
  t.same(order.filter((name) => name !== "blocker"), ["high", "normal", "low"]);
});

t.test("dispose in mid-flight rejects what runs and what waits with DISPOSED", async (t) => {
  for (const schedule of schedules) {
    const model = await load(t, bundledModel, { schedule, maxSequences: 2 });
    const streams = Array.from({ length: 4 }, (_, i) => model.stream(randomIds(510 + i, 50), long));
    await firstDelta(streams[0] as (typeof streams)[number]);
    const prefill = model.prefill(randomIds(520, 1500));
    const disposed = model.dispose();
    const outcomes = [...streams.map((stream) => stream.result), prefill];
    const errors = await Promise.all(outcomes.map((outcome) => refusal(outcome)));
    for (const error of errors) t.equal(error.code, "DISPOSED", schedule);
    await within(disposed, "dispose");
    await within(model.dispose(), "dispose called again");
  }
});
