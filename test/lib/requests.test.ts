// Requests over an engine in memory: prompts, batches, events, aborts, errors.
import { setImmediate as nextTurn } from "node:timers/promises";

import t from "tap";

import { SplitwiserError } from "../../dist/errors.js";
import type { Completion } from "../../dist/types.js";
import { fakeModel, maxModelLen, vocab } from "./fake-engine.js";
import { errorOf } from "./fixtures.js";

const reason = new Error("the user went away");

t.test("a text and its ids give a completion with everything in it", async (t) => {
  const { model, engine, hub } = fakeModel();
  const result = await model.generate("a", { maxTokens: 3, seed: 5, logprobs: 1, priority: 2, deadlineMs: 9 });
  t.same([...(engine.requests[0]?.tokens ?? [])], [0, 97], "with the begin token");
  t.match(engine.requests[0], { sequence: 0, keep: false, priority: 2, deadlineMs: 9, generate: { seed: 5n } });
  t.same(result.tokenIds, [98, 99, 0]);
  t.equal(result.text, "98 99 0 ");
  t.match(result, { finishReason: "length", promptTokens: 2, cachedTokens: 0, seed: 5 });
  t.same(result.logprobs?.[0], { tokenId: 98, logprob: -1, top: [{ tokenId: 98, logprob: -1 }] });
  t.equal("stopReason" in result, false);
  t.equal("choices" in result, false);
  t.equal(result.timing.itlMs.length, 2);
  t.equal(hub.size, 0);
  const ids = await model.generate(new Uint32Array([0, 97]), { maxTokens: 3 });
  t.same(ids.tokenIds, result.tokenIds);
  const stopped = await model.generate([0, 97], { stopTokenIds: [99] });
  t.match(stopped, { finishReason: "stop", stopReason: 99, tokenIds: [98, 99] });
});

t.test("a seed is drawn for each prompt, and returned", async (t) => {
  const { model } = fakeModel();
  const results = await model.generate([[1], [1], [1]], { maxTokens: 1 });
  const seeds = results.map((result) => result.seed);
  t.ok(seeds.every((seed) => seed !== undefined && Number.isSafeInteger(seed) && seed >= 0));
  t.equal(new Set(seeds).size, 3);
});

t.test("n gives choices, the first of them on top", async (t) => {
  const { model } = fakeModel();
  const result = await model.generate([5], { n: 3, maxTokens: 2 });
  t.equal(result.choices?.length, 3);
  t.same(result.tokenIds, result.choices?.[0]?.tokenIds);
  for (const choice of result.choices ?? []) t.equal("choices" in choice, false);
});

t.test("several prompts keep their order; none give none", async (t) => {
  const { model, engine } = fakeModel();
  const results = await model.generate(["b", "a"], { maxTokens: 1 });
  t.same(results.map((result) => result.tokenIds), [[99], [98]]);
  t.same(await model.generate([]), []);
  t.same(await model.generate([], { maxTokens: 1 }), []);
  t.equal(engine.requests.length, 2);
  t.same((await model.generate([Uint32Array.of(7), Uint32Array.of(9)], { maxTokens: 1 })).map((one) => one.tokenIds), [[8], [10]]);
});

t.test("a bad prompt is refused with its place", async (t) => {
  const { model, engine } = fakeModel();
  const cases: [unknown, RegExp][] = [
    ["", /prompt: expected text or an array of token ids that is not empty, got an empty string/],
    [new Uint32Array(0), /not empty/],
    [[1, 100], /prompt\[1\]: expected a token id from 0 to 99 \(the model's vocabulary\), got 100/],
    [[1, -1], /prompt\[1\]/],
    [[1, 1.5], /got 1\.5/],
    [[1, "2"], /got "2"/],
    [[1, NaN], /got NaN/],
    [7, /prompt: expected text or an array/],
    [null, /got null/],
    [undefined, /got undefined/],
    [{ messages: [] }, /got an object/],
    [["a", 7], /prompts\[1\]: expected text/],
    [["a", ""], /prompts\[1\]/],
    [[[1], []], /prompts\[1\]/],
  ];
  for (const [prompt, words] of cases) await errorOf(t, () => model.generate(prompt as string), "INVALID_OPTION", words);
  await errorOf(t, () => model.stream([]), "INVALID_OPTION");
  await errorOf(t, () => model.stream("a", { maxTokens: 0 }), "INVALID_OPTION", /maxTokens/);
  await errorOf(t, () => model.logits("text" as unknown as number[]), "INVALID_OPTION", /tokenizer\.encode/);
  t.equal(engine.requests.length, 0, "native code heard of none");
  const error = await errorOf(t, () => model.generate([1, 100]), "INVALID_OPTION");
  t.equal(error?.partial, undefined);
});

t.test("a prompt leaves room for output, and maxTokens is cut to it", async (t) => {
  const { model } = fakeModel();
  const words = /the prompt has 64 tokens, there is room for 64, one of them for output \(maxModelLen\)/;
  await errorOf(t, () => model.generate(Array.from({ length: maxModelLen }, () => 1)), "PROMPT_TOO_LONG", words);
  const result = await model.generate(Array.from({ length: maxModelLen - 3 }, () => 1));
  t.equal(result.tokenIds.length, 3);
  t.equal(result.finishReason, "length");
  const logits = await model.logits(Array.from({ length: maxModelLen }, () => 1));
  t.same(logits.shape, [maxModelLen, vocab]);
  t.equal(logits.data.length, maxModelLen * vocab);
  await errorOf(t, () => model.logits(Array.from({ length: maxModelLen + 1 }, () => 1)), "PROMPT_TOO_LONG");
});

t.test("what the caller does with its array later changes nothing", async (t) => {
  const { model, engine } = fakeModel();
  const ids = [1, 2, 3];
  const pending = model.generate(ids, { maxTokens: 1 });
  ids[0] = 99;
  ids.length = 1;
  await pending;
  t.same([...(engine.requests[0]?.tokens ?? [])], [1, 2, 3]);
});

t.test("in a batch every prompt has its own outcome", async (t) => {
  const { model } = fakeModel();
  const long = Array.from({ length: 70 }, () => 1);
  const error = await errorOf(t, () => model.generate([[5], long, [100], [6]], { maxTokens: 1 }), "PROMPT_TOO_LONG", /prompt 1 of 4 \(2 failed\)/);
  const codes = error?.results?.map((one) => (one instanceof SplitwiserError ? one.code : one.tokenIds));
  t.same(codes, [[6], "PROMPT_TOO_LONG", "INVALID_OPTION", [7]]);
  const refused = await errorOf(t, () => model.generate([5], { n: 7, maxTokens: 1 }), "OUT_OF_MEMORY", /900 pages/);
  t.ok(refused?.cause instanceof Error, "the native error is the cause");
  await errorOf(t, () => model.generate(["a", "poison"]), "INTERNAL", /tokenizer is broken/);
});

t.test("an abort ends with its reason and what there is", async (t) => {
  const { model, engine, hub } = fakeModel();
  const signal = AbortSignal.abort(reason);
  for (const call of [
    () => model.generate([1], { signal }),
    () => model.generate([[1], [2]], { signal }),
    () => model.stream([1], { signal }).result,
    () => model.prefill([1], { signal }),
    () => model.logits([1], { signal }),
  ]) {
    const error = await errorOf(t, call, "ABORTED", /the user went away/);
    t.equal(error?.cause, reason);
    t.equal(error?.name, "AbortError");
  }
  t.equal(engine.requests.length, 0, "native code heard of none");

  const controller = new AbortController();
  const pending = model.generate([1], { signal: controller.signal });
  while (hub.size === 0) await nextTurn();
  await nextTurn();
  controller.abort(reason);
  const error = await errorOf(t, () => pending, "ABORTED");
  t.equal(error?.cause, reason);
  t.equal(error?.partial?.finishReason, "abort");
  t.ok((error?.partial?.tokenIds.length ?? 0) > 0);
  t.equal(hub.size, 0);
  t.equal(engine.aborted.length, 1);

  const same = new AbortController();
  const early = model.generate("a", { signal: same.signal });
  same.abort();
  await errorOf(t, () => early, "ABORTED");
  t.equal(engine.requests.length, 1, "aborted before it was submitted");
});

t.test('onAbort "return" gives what there is', async (t) => {
  const { model } = fakeModel();
  const result = await model.generate([1], { signal: AbortSignal.abort(), onAbort: "return" });
  t.match(result, { finishReason: "abort", text: "", tokenIds: [] });
  const stream = model.stream([1], { onAbort: "return" });
  const deltas: string[] = [];
  for await (const delta of stream) {
    deltas.push(delta.text);
    stream.abort();
  }
  t.equal((await stream.result).finishReason, "abort");
  t.ok(deltas.length > 0, "the loop ends without an error");
});

t.test("a signal is let go when the request has ended", async (t) => {
  const { model, engine } = fakeModel();
  const controller = new AbortController();
  await model.generate([1], { maxTokens: 1, signal: controller.signal });
  controller.abort();
  t.same(engine.aborted, []);
});

t.test("deltas of a slow reader merge, and make the completion", async (t) => {
  const { model } = fakeModel();
  const stream = model.stream([1], { maxTokens: 40, n: 2, logprobs: 0 });
  const texts = ["", ""];
  const ids: number[][] = [[], []];
  let deltas = 0;
  for await (const delta of stream) {
    deltas++;
    texts[delta.index] += delta.text;
    ids[delta.index]?.push(...delta.tokenIds);
    t.equal(delta.logprobs?.length, delta.tokenIds.length);
    if (deltas === 1) await stream.result;
  }
  t.ok(deltas <= 4, `${deltas} deltas`);
  const { choices = [] } = await stream.result;
  t.same(texts, choices.map((choice) => choice.text));
  t.same(ids, choices.map((choice) => choice.tokenIds));
  t.equal(choices[0]?.logprobs?.length, 40);
});

t.test("leaving the loop early ends the request before the next statement", async (t) => {
  const { model, hub } = fakeModel();
  const stream = model.stream([1]);
  for await (const delta of stream) if (delta.tokenIds.length > 0) break;
  t.equal(hub.size, 0);
  await errorOf(t, () => stream.result, "ABORTED");
  const other = model.stream([1]);
  await other[Symbol.asyncIterator]().return?.();
  await errorOf(t, () => other.result, "ABORTED");
  t.equal(hub.size, 0);
});

t.test("a stream is read once, throws what its result rejects with, and stays ended", async (t) => {
  const { model } = fakeModel();
  const stream = model.stream([1, 200]);
  const iterator = stream[Symbol.asyncIterator]();
  const error = await errorOf(t, () => iterator.next(), "INVALID_OPTION", /prompt\[1\]/);
  t.equal(error, await errorOf(t, () => stream.result, "INVALID_OPTION"));
  t.same(await iterator.next(), { done: true, value: undefined });
  await errorOf(t, () => stream[Symbol.asyncIterator](), "INVALID_OPTION", /read once/);
});

t.test("nobody has to look at a result", async (t) => {
  const seen: unknown[] = [];
  const listener = (error: unknown): void => void seen.push(error);
  process.on("unhandledRejection", listener);
  t.teardown(() => process.off("unhandledRejection", listener));
  const { model } = fakeModel();
  model.stream([1]).abort();
  model.stream([200]);
  const sequence = await model.prefill([1]);
  sequence.decode({ maxTokens: 60 }).abort();
  await model.dispose();
  sequence.decode();
  for (let i = 0; i < 5; i++) await nextTurn();
  t.same(seen, []);
});

t.test("dispose ends what runs and what waits, and may be called again", async (t) => {
  const { model, engine, hub } = fakeModel();
  const running = model.generate([1]);
  while (hub.size === 0) await nextTurn();
  await nextTurn();
  const tokenizing = errorOf(t, () => model.generate("a"), "DISPOSED");
  const [first, second] = [model.dispose(), model.dispose()];
  const error = await errorOf(t, () => running, "DISPOSED");
  t.ok((error?.partial?.tokenIds.length ?? 0) > 0);
  await tokenizing;
  await Promise.all([first, second]);
  await model.dispose();
  t.equal(engine.disposals, 1);
  for (const call of [
    () => model.generate([1]),
    () => model.stream([1]).result,
    () => model.prefill([1]),
    () => model.logits([1]),
    () => model.configure({ schedule: "split" }),
    () => model.stats(),
    () => model.timeline(),
    () => model.saveTimeline("/tmp/unused"),
  ]) {
    await errorOf(t, call, "DISPOSED");
  }
  t.equal(model.device.name, "fake", "it still says what it ran on");
});

t.test("requests that native code forgot end with dispose", async (t) => {
  const { model, engine, hub } = fakeModel();
  const lost = model.generate([1]);
  while (hub.size === 0) await nextTurn();
  engine.lose();
  await model.dispose();
  await errorOf(t, () => lost, "DISPOSED");
});

t.test("configure, device and stats", async (t) => {
  const { model, engine } = fakeModel();
  t.match(model.stats(), { schedule: { asked: "auto", used: "split" }, pages: { total: 4 } });
  await Promise.all([model.configure({ schedule: "chunked", maxBatchTokens: 7 }), model.configure({ prefillShare: 0.25 })]);
  t.same(engine.configured.at(-1), {
    schedule: "chunked", partition: null, prefillShare: 0.25, maxSequences: 8, maxBatchTokens: 7,
  }, "a change starts from what the one before has left");
  t.match(model.stats().schedule, { asked: "chunked", used: "chunked" });
  await errorOf(t, () => model.configure({ schedule: "both" as "split" }), "INVALID_OPTION");
  t.match(model.device, { id: "cpu", name: "fake", partition: "cores", lanes: { decode: { share: 0.5 } }, why: "it is a test" });
});

t.test("events for nobody are nobody's", (t) => {
  const { hub } = fakeModel();
  hub.deliver([{ type: "tokens", request: 99, choice: 0, tokens: Int32Array.of(1), text: "", logprobs: null }]);
  t.equal(hub.size, 0);
  t.end();
});

t.test("completions are plain data", async (t) => {
  const { model } = fakeModel();
  const result: Completion = await model.generate([1], { maxTokens: 2 });
  t.same(JSON.parse(JSON.stringify(result)), result);
});
