import { readFileSync } from "node:fs";
import { join } from "node:path";

import t from "tap";

import { toChromeTrace } from "../../dist/timeline.js";
import { toRequestTiming } from "../../dist/timing.js";
import type { NativeTiming } from "../../dist/native.js";
import type { TimelineEvent } from "../../dist/types.js";
import { fakeModel } from "./fake-engine.js";
import { errorOf } from "./fixtures.js";

const native = (change: Partial<NativeTiming> = {}): NativeTiming => ({
  submittedMs: 100,
  startedMs: 104,
  endMs: 160,
  tokenMs: Float64Array.of(120, 130, 150),
  spans: [
    { phase: "queued", startMs: 100, endMs: 104, lane: null, tokens: 0 },
    { phase: "prefill", startMs: 104, endMs: 120, lane: "prefill", tokens: 9 },
  ],
  prefillTokens: 9,
  decodeTokens: 2,
  preemptions: 1,
  ...change,
});

t.test("times follow from the stamps", (t) => {
  t.same(toRequestTiming(native()), {
    submittedMs: 100,
    queueMs: 4,
    prefillMs: 16,
    ttftMs: 20,
    decodeMs: 30,
    itlMs: [10, 20],
    tpotMs: 20,
    e2eMs: 60,
    phases: [
      { phase: "queued", startMs: 0, endMs: 4, lane: null, tokens: 0 },
      { phase: "prefill", startMs: 4, endMs: 20, lane: "prefill", tokens: 9 },
    ],
    prefillTokens: 9,
    decodeTokens: 2,
    preemptions: 1,
  });
  t.end();
});

t.test("null where there is no such time", (t) => {
  t.match(toRequestTiming(native({ tokenMs: new Float64Array(0), startedMs: null })), {
    queueMs: 60, prefillMs: null, ttftMs: null, decodeMs: null, itlMs: [], tpotMs: null, e2eMs: 60,
  });
  t.match(toRequestTiming(native({ tokenMs: Float64Array.of(120) })), { ttftMs: 20, prefillMs: 16, decodeMs: null, tpotMs: null });
  t.match(toRequestTiming(native({ prefillTokens: 0 })), { prefillMs: null, ttftMs: 20 });
  t.end();
});

t.test("the timeline as a trace: lanes are threads, neighbours never overlap", (t) => {
  const event = (startMs: number, endMs: number): TimelineEvent => ({
    lane: "decode", phase: "decode", startMs, endMs, requests: [1, 2], tokens: 2, partition: "cores", sharedSms: true,
  });
  const { traceEvents } = toChromeTrace([event(0.0004, 1.0006), event(1.0006, 2)], "a model") as {
    traceEvents: { ph: string; name: string; ts: number; dur: number; tid: number; args: Record<string, unknown> }[];
  };
  t.same(traceEvents.filter((one) => one.name === "thread_name").map((one) => one.args["name"]), ["prefill lane", "decode lane"]);
  const steps = traceEvents.filter((one) => one.ph === "X");
  t.match(steps[0], { name: "decode 2 tokens", ts: 0, dur: 1001, tid: 2, args: { requests: [1, 2], partition: "cores", sharedSms: true } });
  t.equal((steps[0]?.ts ?? 0) + (steps[0]?.dur ?? 0), steps[1]?.ts);
  t.end();
});

t.test("saveTimeline writes a file, or says why not", async (t) => {
  const { model } = fakeModel();
  const path = join(t.testdir(), "timeline.json");
  await model.saveTimeline(path, { steps: 2 });
  const trace = JSON.parse(readFileSync(path, "utf8")) as { traceEvents: { ph: string }[] };
  t.equal(trace.traceEvents.filter((event) => event.ph === "X").length, 2);
  await errorOf(t, () => model.saveTimeline("/no/such/folder/x.json"), "INVALID_OPTION", /cannot be written/);
  await errorOf(t, () => model.saveTimeline(7 as unknown as string), "INVALID_OPTION", /path/);
  await errorOf(t, () => model.timeline({ steps: 0 }), "INVALID_OPTION", /steps/);
  t.equal(model.timeline().length, 3);
});
