// Invariants 2 and 3: thousands of operations at random on a model with few pages; nothing hangs, nothing leaks, counts add up.

import { setImmediate as nextTurn } from "node:timers/promises";

import t from "tap";

import { SplitwiserError, type CompletionStream, type Model, type Sequence } from "../../dist/index.js";
import { allPagesFree, exactly, greedy, load, patience, schedules, within } from "../helpers/engine.js";
import { families } from "../helpers/paths.js";
import { makeRandom, randomIds, type Random } from "../helpers/random.js";

t.setTimeout(patience * 180_000);

/** Pages of the tiny OPT in float16: 24 of them, while one sequence can take 12. */
const kvCacheBytes = 24 * 2 * 2 * 2 * 64 * 16 * 2;

/** Errors that an operation may end with when others abort and dispose around it. */
const expected = new Set(["ABORTED", "DEADLINE", "DISPOSED", "PROMPT_TOO_LONG", "OUT_OF_MEMORY"]);

interface World {
  model: Model;
  random: Random;
  sequences: Sequence[];
  streams: CompletionStream[];
  controllers: AbortController[];
  /** Of calls on held sequences: several that hold pages and wait for more can only be ended by their caller. */
  rescue: AbortController[];
  pending: Set<Promise<void>>;
  surprises: unknown[];
  outcomes: Map<string, number>;
}

/** Keeps a promise until it ends and notes how; an error of another kind is a finding. */
function track(world: World, name: string, promise: Promise<unknown>): void {
  const note = (outcome: string): void => {
    world.outcomes.set(`${name} ${outcome}`, (world.outcomes.get(`${name} ${outcome}`) ?? 0) + 1);
  };
  const watched: Promise<void> = promise
    .then(
      () => note("ok"),
      (error: unknown) => {
        if (error instanceof SplitwiserError && expected.has(error.code)) note(error.code);
        else world.surprises.push(error);
      },
    )
    .finally(() => world.pending.delete(watched));
  world.pending.add(watched);
}

/** As `track`, for calls that may throw at once. */
function start(world: World, name: string, call: () => Promise<unknown>): void {
  track(world, name, (async () => call())());
}

const operations: [name: string, weight: number, run: (world: World) => void][] = [
  ["generate", 10, (world) => {
    const { model, random } = world;
    const prompt = randomIds(random.between(0, 1e6), random.between(1, 120));
    const maxTokens = random.between(1, 40);
    const n = random.chance(0.15) ? random.between(2, 3) : 1;
    start(world, "generate", () => model.generate(prompt, { maxTokens, n, temperature: random.between(0, 1) }));
  }],
  ["generate under a signal", 6, (world) => {
    const controller = new AbortController();
    world.controllers.push(controller);
    const prompt = randomIds(world.random.between(0, 1e6), world.random.between(1, 120));
    const onAbort = world.random.chance(0.5) ? "return" : "throw";
    start(world, "signal", () => world.model.generate(prompt, { ...greedy(60), onAbort, signal: controller.signal }));
  }],
  ["generate with a deadline", 3, (world) => {
    const prompt = randomIds(world.random.between(0, 1e6), world.random.between(1, 60));
    start(world, "deadline", () => world.model.generate(prompt, { ...greedy(60), deadlineMs: world.random.between(1, 20) }));
  }],
  ["stream and leave early", 6, (world) => {
    const prompt = randomIds(world.random.between(0, 1e6), world.random.between(1, 90));
    const leaveAfter = world.random.between(0, 12);
    start(world, "leave", async () => {
      let seen = 0;
      const stream = world.model.stream(prompt, greedy(60));
      for await (const delta of stream) {
        seen += delta.tokenIds.length;
        if (seen > leaveAfter) break;
      }
    });
  }],
  ["stream, read by nobody", 4, (world) => {
    const stream = world.model.stream(randomIds(world.random.between(0, 1e6), 20), greedy(30));
    world.streams.push(stream);
    track(world, "unread", stream.result);
  }],
  ["abort a stream", 4, (world) => {
    if (world.streams.length > 0) world.random.pick(world.streams).abort();
  }],
  ["abort a signal", 6, (world) => {
    if (world.controllers.length > 0) world.random.pick(world.controllers).abort();
  }],
  ["prefill", 4, (world) => {
    const prompt = randomIds(world.random.between(0, 1e6), world.random.between(1, 70));
    start(world, "prefill", async () => void world.sequences.push(await world.model.prefill(prompt)));
  }],
  ["fork", 4, (world) => {
    if (world.sequences.length === 0) return;
    start(world, "fork", async () => void world.sequences.push(world.random.pick(world.sequences).fork()));
  }],
  ["truncate and append", 5, (world) => {
    const sequence = take(world);
    if (sequence === undefined) return;
    const length = world.random.between(1, Math.max(1, sequence.length));
    const tokens = randomIds(length, world.random.between(1, 20));
    const signal = rescueSignal(world);
    start(world, "append", async () => {
      try {
        await sequence.truncate(length);
        await sequence.append(tokens, { signal });
      } finally {
        world.sequences.push(sequence);
      }
    });
  }],
  ["decode", 6, (world) => {
    const sequence = take(world);
    if (sequence === undefined) return;
    const leaveAfter = world.random.between(1, 30);
    const signal = rescueSignal(world);
    start(world, "decode", async () => {
      try {
        let seen = 0;
        for await (const delta of sequence.decode({ ...greedy(20), signal })) {
          seen += delta.tokenIds.length;
          if (seen > leaveAfter) break;
        }
      } finally {
        world.sequences.push(sequence);
      }
    });
  }],
  ["dispose of a sequence", 9, (world) => {
    const sequence = take(world);
    if (sequence !== undefined) start(world, "dispose", () => sequence.dispose());
  }],
  ["logits", 2, (world) => start(world, "logits", () => world.model.logits(randomIds(3, world.random.between(1, 90))))],
  ["configure", 2, (world) => {
    const schedule = world.random.pick(schedules);
    start(world, "configure", () => world.model.configure({ schedule, maxBatchTokens: world.random.between(1, 64) }));
  }],
];

/** A sequence of one's own: two operations on one sequence at a time are the caller's mistake. */
function take(world: World): Sequence | undefined {
  if (world.sequences.length === 0) return undefined;
  return world.sequences.splice(world.random.between(0, world.sequences.length - 1), 1)[0];
}

function rescueSignal(world: World): AbortSignal {
  const controller = new AbortController();
  world.rescue.push(controller);
  return controller.signal;
}

/** Ends all that was started: aborts every second signal, disposes of sequences until nothing is pending. */
async function drain(world: World): Promise<void> {
  world.controllers.forEach((controller, i) => i % 2 === 0 && controller.abort());
  world.controllers.length = 0;
  world.streams.length = 0;
  const rescueAt = performance.now() + patience * 100;
  while (world.pending.size > 0 || world.sequences.length > 0) {
    for (const sequence of world.sequences.splice(0)) start(world, "dispose", () => sequence.dispose());
    if (performance.now() > rescueAt) for (const controller of world.rescue.splice(0)) controller.abort();
    await nextTurn();
  }
  world.rescue.length = 0;
}

const names = operations.flatMap(([name, weight]) => Array.from({ length: weight }, () => name));
const byName = new Map(operations.map(([name, , run]) => [name, run]));

for (const seed of [1, 2, 3]) {
  t.test(`thousands of operations at random leave every page free, seed ${seed}`, async (t) => {
    const model = await load(t, families.opt, { kvCacheBytes, maxSequences: 6, threads: 1 + (seed % 2) });
    const probe = randomIds(600, 70);
    const before = exactly(await model.generate(probe, { ...greedy(16), logprobs: 1 }));
    const world: World = {
      model,
      random: makeRandom(seed),
      sequences: [],
      streams: [],
      controllers: [],
      rescue: [],
      pending: new Set(),
      surprises: [],
      outcomes: new Map(),
    };
    const rounds = 12;
    for (let round = 0; round < rounds; ++round) {
      // A slow device gives none back before the round ends.
      for (let i = 0; i < 2; ++i) world.sequences.push(await within(model.prefill(randomIds(round + i, 20)), "a sequence to begin with"));
      for (let step = 0; step < 90; ++step) {
        byName.get(world.random.pick(names))?.(world);
        const { pages } = model.stats();
        if (pages.free + pages.used + pages.cached !== pages.total) world.surprises.push({ round, step, pages });
        if (world.random.chance(0.4)) await nextTurn();
      }
      await within(drain(world), `round ${round}`);
      await allPagesFree(t, model, `round ${round}`);
      t.same(world.surprises, [], `round ${round}: no other error`);
    }
    const counted = Object.fromEntries([...world.outcomes].sort());
    for (const name of ["generate ok", "leave ok", "unread ok", "decode ok", "append ok", "signal ABORTED"]) {
      t.ok((world.outcomes.get(name) ?? 0) > 0, `"${name}" happened`, { counted });
    }
    const after = exactly(await model.generate(probe, { ...greedy(16), logprobs: 1 }));
    t.equal(after, before, "and the same prompt has the same bits as before");
  });
}

t.test("tokens in and out are counted exactly", async (t) => {
  const model = await load(t, families.opt, { kvCacheBytes });
  const random = makeRandom(9);
  const before = model.stats();
  const jobs = Array.from({ length: 40 }, () => ({ length: random.between(1, 100), maxTokens: random.between(1, 40) }));
  const results = await within(
    Promise.all(jobs.map(({ length, maxTokens }, i) => model.generate(randomIds(i, length), greedy(maxTokens)))),
    "forty requests",
  );
  const after = model.stats();
  const sum = (values: number[]): number => values.reduce((total, value) => total + value, 0);
  t.equal(after.promptTokens - before.promptTokens, sum(jobs.map((job) => job.length)));
  t.equal(after.generatedTokens - before.generatedTokens, sum(jobs.map((job) => job.maxTokens)));
  t.equal(sum(results.map((result) => result.tokenIds.length)), sum(jobs.map((job) => job.maxTokens)));
  t.equal(after.preemptions, before.preemptions, "and nothing was preempted");
});
