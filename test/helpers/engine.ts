// What tests of the loaded library share: loading with a teardown, waiting with a limit, looking at pages.

import { setImmediate as nextTurn } from "node:timers/promises";

import type { Test } from "tap";

import {
  loadModel,
  SplitwiserError,
  type Completion,
  type CompletionStream,
  type Delta,
  type LoadOptions,
  type Model,
} from "../../dist/index.js";

export const schedules = ["sequential", "chunked", "split"] as const;

/** Options under which a model decodes a fixed number of tokens greedily. */
export const greedy = (maxTokens: number): { maxTokens: number; ignoreEos: true } => ({ maxTokens, ignoreEos: true });

/** Where `load` loads: the property tests hold on every device (`npm run test:cuda:long` runs them on the simulated GPU). */
export const device = (process.env["SPLITWISER_TEST_DEVICE"] ?? "cpu") as "cpu" | "cuda";
/** Of limits: a simulated GPU is slower than any CPU. */
export const patience = device === "cpu" ? 1 : 10;

/** Loads on `device`; the model goes when the test ends. */
export async function load(t: Test, source: string, options: LoadOptions = {}): Promise<Model> {
  const model = await within(loadModel(source, { device, ...options }), "loading a model");
  t.teardown(() => within(model.dispose(), "disposing of a model"));
  return model;
}

/** The promise's outcome, or a failure that says what hung. The limit is a watchdog: nothing here takes a tenth of it. */
export async function within<T>(promise: Promise<T>, what: string, limitMs = 60_000): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not end within ${patience * limitMs} ms`)), patience * limitMs);
  });
  try {
    return await Promise.race([promise, limit]);
  } finally {
    clearTimeout(timer);
  }
}

/** The SplitwiserError that a promise rejects with; anything else fails the test. */
export async function refusal(promise: Promise<unknown>, what = "a call that must be refused"): Promise<SplitwiserError> {
  let value: unknown;
  try {
    value = await within(promise, what);
  } catch (error) {
    if (error instanceof SplitwiserError) return error;
    throw error;
  }
  throw new Error(`${what} was accepted: ${JSON.stringify(value)}`);
}

/** Runs a function that may throw at once or return a promise that rejects. */
export function attempt(call: () => unknown): Promise<unknown> {
  return (async () => call())();
}

export interface Collected {
  deltas: Delta[];
  /** Text and tokens of choice 0 as streamed. */
  text: string;
  tokenIds: number[];
  result: Completion;
}

/** Reads a stream to its end. */
export async function collect(stream: CompletionStream): Promise<Collected> {
  const deltas: Delta[] = [];
  for await (const delta of stream) deltas.push(delta);
  const first = deltas.filter((delta) => delta.index === 0);
  return {
    deltas,
    text: first.map((delta) => delta.text).join(""),
    tokenIds: first.flatMap((delta) => [...delta.tokenIds]),
    result: await stream.result,
  };
}

/** The first delta of a stream that holds a token: from then on the request decodes. Leaves the stream running. */
export async function firstDelta(stream: CompletionStream): Promise<Delta> {
  const iterator = stream[Symbol.asyncIterator]();
  for (;;) {
    const next = await within(iterator.next(), "the first token");
    if (next.done === true) throw new Error("the stream ended without a token");
    if (next.value.tokenIds.length > 0) return next.value;
  }
}

/** Waits until nothing waits or runs. */
export async function untilIdle(model: Model): Promise<void> {
  const settled = async (): Promise<void> => {
    for (;;) {
      const { waiting, running } = model.stats();
      if (waiting === 0 && running === 0) return;
      await nextTurn();
    }
  };
  await within(settled(), "the engine becoming idle");
}

/** Asserts that the idle engine holds no page. */
export async function allPagesFree(t: Test, model: Model, name = "every page is free again"): Promise<void> {
  await untilIdle(model);
  const { pages, held } = model.stats();
  t.equal(held, 0, `${name}: no sequence is held`);
  t.equal(pages.used, 0, `${name}: none is in use`);
  t.equal(pages.free + pages.cached, pages.total, `${name}: free and cached pages are all there are`);
}

/** Tokens and log probabilities as one string: two are equal only if every bit is. */
export function exactly(completion: Completion): string {
  const choices = completion.choices ?? [completion];
  return JSON.stringify(choices.map((choice) => [[...choice.tokenIds], choice.logprobs ?? null, choice.finishReason]));
}

/** Runs tasks one after another. */
export async function inTurn<T, R>(items: readonly T[], task: (item: T, index: number) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (const [index, item] of items.entries()) results.push(await task(item, index));
  return results;
}
