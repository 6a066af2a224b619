// The record of both lanes: events of one lane follow each other, and under "split" the lanes really work at the same time.

import { readFileSync } from "node:fs";
import { join } from "node:path";

import t from "tap";

import type { TimelineEvent } from "../../dist/index.js";
import { firstDelta, greedy, load, patience, schedules, within } from "../helpers/engine.js";
import { temporaryFolder } from "../helpers/model-folder.js";
import { bundledModel, families } from "../helpers/paths.js";
import { randomIds } from "../helpers/random.js";

t.setTimeout(patience * 120_000);

const lanes = ["prefill", "decode"] as const;
const overlap = (a: TimelineEvent, b: TimelineEvent): boolean => a.startMs < b.endMs && b.startMs < a.endMs;

/** The two halves of a mixed step of "chunked": same lane, same time, a phase each. */
const oneStep = (a: TimelineEvent, b: TimelineEvent): boolean =>
  a.startMs === b.startMs && a.endMs === b.endMs && a.phase !== b.phase;

/** Pairs of events of one lane that lie on each other and are not one step. */
function collisions(events: readonly TimelineEvent[]): TimelineEvent[][] {
  return lanes.flatMap((lane) => {
    const mine = events.filter((event) => event.lane === lane).sort((a, b) => a.startMs - b.startMs);
    return mine.flatMap((event, i) => {
      const next = mine[i + 1];
      return next !== undefined && next.startMs < event.endMs - 1e-6 && !oneStep(event, next) ? [[event, next]] : [];
    });
  });
}

t.test("events of one lane do not overlap, begin before they end and name requests", async (t) => {
  const model = await load(t, families.opt, { threads: 2 });
  for (const schedule of schedules) {
    await model.configure({ schedule, maxBatchTokens: 16 });
    const since = model.stats().nowMs;
    const prompts = Array.from({ length: 12 }, (_, i) => randomIds(800 + i, 5 + 9 * i));
    await within(model.generate(prompts, greedy(20)), "a batch");
    const events = model.timeline({ steps: 10_000 }).filter((event) => event.startMs >= since);
    t.ok(events.length > 0);
    t.same(collisions(events), [], `${schedule}: no two steps of a lane at once`);
    const mixed = events.some((event, i) => i > 0 && oneStep(event, events[i - 1] ?? event));
    t.equal(mixed, schedule === "chunked", `${schedule}: steps are mixed in "chunked" only`);
    t.ok(events.every((event) => event.endMs >= event.startMs && event.tokens > 0 && event.requests.length > 0));
    t.ok(events.every((event) => event.endMs <= model.stats().nowMs), "on the clock of stats().nowMs");
  }
});

t.test("the events of a request hold exactly its tokens", async (t) => {
  const model = await load(t, families.opt);
  for (const schedule of schedules) {
    await model.configure({ schedule, maxBatchTokens: 20 });
    const since = model.stats().nowMs;
    await model.generate(randomIds(820, 70), greedy(11));
    const events = model.timeline({ steps: 10_000 }).filter((event) => event.startMs >= since);
    const tokens = (phase: string): number =>
      events.filter((event) => event.phase === phase).reduce((total, event) => total + event.tokens, 0);
    t.equal(tokens("prefill"), 70, `${schedule}: the prompt`);
    t.equal(tokens("decode"), 10, `${schedule}: the first token comes from the prompt, ten from decode`);
    t.equal(new Set(events.flatMap((event) => event.requests)).size, 1, `${schedule}: one request`);
  }
});

t.test('under "split" a long prompt is computed while other requests decode', async (t) => {
  const model = await load(t, bundledModel, { schedule: "split", threads: 2, maxBatchTokens: 64 });
  const streams = Array.from({ length: 4 }, (_, i) =>
    model.stream(randomIds(830 + i, 20), { ...greedy(1900), onAbort: "return" }),
  );
  await Promise.all(streams.map(firstDelta));
  const since = model.stats().nowMs;
  await within(model.generate(randomIds(840, 1200), { maxTokens: 1 }), "a long prompt");
  const until = model.stats().nowMs;
  streams.forEach((stream) => stream.abort());
  const partials = await Promise.all(streams.map((stream) => stream.result));
  t.ok(partials.every((partial) => partial.finishReason === "abort"), "they were decoding all the time");

  const events = model.timeline({ steps: 100_000 }).filter((event) => event.startMs >= since && event.endMs <= until);
  const prefill = events.filter((event) => event.phase === "prefill");
  const decode = events.filter((event) => event.phase === "decode");
  t.ok(prefill.every((event) => event.lane === "prefill") && decode.every((event) => event.lane === "decode"));
  t.ok(prefill.length > 1, "the prompt is cut into chunks");
  t.ok(prefill.some((one) => decode.some((other) => overlap(one, other))), "both lanes work at the same time");
});

t.test('under "sequential" nothing decodes while a prompt is computed', async (t) => {
  const model = await load(t, bundledModel, { schedule: "sequential", threads: 2 });
  const running = model.generate([randomIds(850, 20), randomIds(851, 20)], greedy(300));
  await model.generate(randomIds(852, 900), greedy(2));
  await within(running, "two requests");
  const events = model.timeline({ steps: 100_000 });
  const prefill = events.filter((event) => event.phase === "prefill");
  const decode = events.filter((event) => event.phase === "decode");
  t.ok(prefill.length > 0 && decode.length > 0);
  t.notOk(prefill.some((one) => decode.some((other) => overlap(one, other))));
});

t.test("timeline gives the last steps, oldest first", async (t) => {
  const model = await load(t, families.opt);
  await model.generate(randomIds(860, 30), greedy(50));
  const all = model.timeline({ steps: 10_000 });
  const last = model.timeline({ steps: 7 });
  t.equal(last.length, 7);
  t.same(last, all.slice(-7));
  t.ok(all.every((event, i) => i === 0 || event.endMs >= (all[i - 1]?.endMs ?? 0) || event.startMs >= (all[i - 1]?.startMs ?? 0)));
});

interface TraceEvent {
  name: string;
  ph: string;
  ts?: number;
  dur?: number;
  pid: number;
  tid?: number;
  args?: Record<string, unknown>;
}

t.test("saveTimeline writes a Chrome trace: complete events on named threads, microseconds", async (t) => {
  const model = await load(t, families.opt, { schedule: "split" });
  await model.generate([randomIds(870, 60), randomIds(871, 8)], greedy(12));
  const path = join(temporaryFolder(t), "timeline.json");
  await model.saveTimeline(path);
  const parsed = JSON.parse(readFileSync(path, "utf8")) as TraceEvent[] | { traceEvents: TraceEvent[] };
  const events = Array.isArray(parsed) ? parsed : parsed.traceEvents;
  const complete = events.filter((event) => event.ph === "X");
  t.ok(complete.length > 0, "complete events are there");
  const sound = (event: TraceEvent): boolean =>
    event.name !== "" &&
    Number.isFinite(event.ts) &&
    (event.dur ?? -1) >= 0 &&
    Number.isInteger(event.pid) &&
    Number.isInteger(event.tid);
  t.same(complete.filter((event) => !sound(event)), [], "each has name, ts, dur, pid and tid");
  const named = new Map(
    events.filter((event) => event.ph === "M" && event.name === "thread_name").map((event) => [event.tid, event.args?.["name"]]),
  );
  t.ok(complete.every((event) => typeof named.get(event.tid) === "string"), "every thread has a name");
  t.ok(lanes.every((lane) => [...named.values()].some((name) => String(name).includes(lane))), "both lanes are named");
  const kinds = new Set(["X", "M", "C", "i", "b", "e", "s", "f"]);
  t.ok(events.every((event) => kinds.has(event.ph)), "only kinds of events that viewers know");

  // Microseconds: every step of the timeline is there with its length, ends rounded.
  const lengths = complete.map((event) => event.dur ?? NaN);
  const steps = model.timeline({ steps: 10_000 });
  const missing = steps.filter((step) => !lengths.some((dur) => Math.abs(dur - 1000 * (step.endMs - step.startMs)) <= 1));
  t.same(missing, []);
});
