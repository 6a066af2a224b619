// Sequences over an engine in memory: the two phases by hand.
import t from "tap";

import { fakeModel, maxModelLen, vocab } from "./fake-engine.js";
import { errorOf } from "./fixtures.js";

t.test("prefill, decode, append, truncate keep the tokens that native code holds", async (t) => {
  const { model, engine } = fakeModel();
  const sequence = await model.prefill("a", { priority: 3 });
  t.match(engine.requests[0], { keep: true, generate: null, priority: 3 });
  t.same(sequence.tokenIds, [0, 97]);
  const stream = sequence.decode({ maxTokens: 2, seed: 4 });
  const { tokenIds, seed } = await stream.result;
  t.equal(seed, 4);
  t.same(sequence.tokenIds, [0, 97, ...tokenIds]);
  await sequence.append("b");
  t.same(sequence.tokenIds, [0, 97, ...tokenIds, 98], "text that is appended has no begin token");
  await sequence.append([5, 6]);
  await sequence.truncate(3);
  t.equal(sequence.length, 3);
  t.same([...engine.held.values()], [sequence.tokenIds]);
  const logits = await sequence.logits();
  t.same(logits.shape, [vocab]);
  t.equal(logits.data.length, vocab);
  t.same(engine.requests.at(-1)?.tokens.length, 0);
  t.equal(sequence.length, 3);
});

t.test("calls run one after another in the order in which they were made", async (t) => {
  const { model, engine } = fakeModel();
  const sequence = await model.prefill([1]);
  const decoded = sequence.decode({ maxTokens: 3 }).result;
  const appended = sequence.append([50]);
  const truncated = sequence.truncate(4);
  const again = sequence.decode({ maxTokens: 1 }).result;
  await errorOf(t, () => sequence.fork(), "INVALID_OPTION", /busy/);
  const [first, , , last] = await Promise.all([decoded, appended, truncated, again]);
  t.same(sequence.tokenIds, [1, ...first.tokenIds, ...last.tokenIds]);
  t.same([...engine.held.values()], [sequence.tokenIds]);
});

t.test("a call that fails leaves the sequence to the next one", async (t) => {
  const { model, engine } = fakeModel();
  const sequence = await model.prefill([1]);
  const bad = sequence.append([1000]);
  const long = sequence.append(Array.from({ length: maxModelLen }, () => 1));
  const cut = sequence.truncate(9);
  const good = sequence.append([7]);
  await errorOf(t, () => bad, "INVALID_OPTION", /prompt\[0\]/);
  await errorOf(t, () => long, "PROMPT_TOO_LONG");
  await errorOf(t, () => cut, "INVALID_OPTION", /length: expected an integer from 0 to 1, got 9/);
  await good;
  t.same(sequence.tokenIds, [1, 7]);
  t.equal(engine.requests.length, 2);
  await sequence.append(Array.from({ length: maxModelLen - 2 }, () => 1));
  await errorOf(t, () => sequence.decode().result, "PROMPT_TOO_LONG", /room for 64/);
  await errorOf(t, () => sequence.append(""), "INVALID_OPTION");
  await errorOf(t, () => sequence.decode({ n: 2 } as object), "INVALID_OPTION", /fork/);
});

t.test("an aborted decode keeps what it generated", async (t) => {
  const { model, engine } = fakeModel();
  const sequence = await model.prefill([1]);
  const stream = sequence.decode();
  for await (const delta of stream) if (delta.tokenIds.length > 0) break;
  const error = await errorOf(t, () => stream.result, "ABORTED");
  t.same(sequence.tokenIds, [1, ...(error?.partial?.tokenIds ?? [])]);
  t.same([...engine.held.values()], [sequence.tokenIds]);
  const { tokenIds } = await sequence.decode({ maxTokens: 2 }).result;
  t.equal(tokenIds.length, 2);
});

t.test("forks go their own ways", async (t) => {
  const { model, engine } = fakeModel();
  const sequence = await model.prefill([1]);
  const other = sequence.fork();
  await other.append([9]);
  t.same(sequence.tokenIds, [1]);
  t.same(other.tokenIds, [1, 9]);
  await sequence.dispose();
  t.equal(engine.held.size, 1);
  t.equal((await other.decode({ maxTokens: 1 }).result).tokenIds.length, 1);
});

t.test("tokenIds is a copy", async (t) => {
  const { model } = fakeModel();
  const sequence = await model.prefill([1]);
  sequence.tokenIds.push(4);
  t.same(sequence.tokenIds, [1]);
});

t.test("dispose ends what runs and what waits, and may be called again", async (t) => {
  const { model, engine } = fakeModel();
  const sequence = await model.prefill([1]);
  const running = sequence.decode();
  for await (const delta of running) {
    t.ok(delta);
    const waiting = sequence.append([3]);
    const done = sequence.dispose();
    await errorOf(t, () => waiting, "DISPOSED");
    await done;
    break;
  }
  await errorOf(t, () => running.result, "DISPOSED", /sequence/);
  await sequence.dispose();
  t.equal(engine.held.size, 0);
  for (const call of [() => sequence.append([1]), () => sequence.truncate(0), () => sequence.fork(), () => sequence.logits(), () => sequence.decode().result]) {
    await errorOf(t, call, "DISPOSED");
  }
});

t.test("a sequence of a disposed model", async (t) => {
  const { model } = fakeModel();
  const sequence = await model.prefill([1]);
  await model.dispose();
  await errorOf(t, () => sequence.decode().result, "DISPOSED");
  await errorOf(t, () => sequence.fork(), "DISPOSED");
  await sequence.dispose();
});

t.test("await using disposes", async (t) => {
  const { model, engine } = fakeModel();
  const sequence = await model.prefill([1]);
  await sequence[Symbol.asyncDispose]();
  t.equal(engine.held.size, 0);
  await model[Symbol.asyncDispose]();
  t.equal(engine.disposals, 1);
});
