// The times of a request: how they hang together. Nothing here depends on how long anything takes.

import t, { type Test } from "tap";

import type { Completion, RequestTiming } from "../../dist/index.js";
import { collect, firstDelta, greedy, load, patience, schedules, within } from "../helpers/engine.js";
import { bundledModel, families } from "../helpers/paths.js";
import { randomIds } from "../helpers/random.js";

t.setTimeout(patience * 120_000);

/** Sums of double milliseconds. */
const rounding = 1e-6;
const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
const near = (a: number | null, b: number): boolean => a !== null && Math.abs(a - b) <= rounding;

/** What holds between the times of one completion. Collects what does not. */
function contradictions(result: Completion): string[] {
  const { timing, tokenIds, promptTokens } = result;
  const found: string[] = [];
  const claim = (holds: boolean, what: string): void => void (holds || found.push(`${what}: ${JSON.stringify(timing)}`));
  const tokens = tokenIds.length;
  const { ttftMs, decodeMs, e2eMs, queueMs, prefillMs, itlMs, phases } = timing;
  claim(itlMs.length === tokens - 1, "one gap fewer than tokens");
  claim(itlMs.every((gap) => gap >= 0), "time does not run backwards");
  claim(ttftMs !== null && prefillMs !== null && near(ttftMs, queueMs + prefillMs), "ttft = queue + prefill");
  claim(queueMs >= 0 && (prefillMs ?? -1) >= 0, "no negative time");
  claim(tokens < 2 ? decodeMs === null : near(decodeMs, sum(itlMs)), "decode = sum of the gaps");
  claim(e2eMs + rounding >= (ttftMs ?? 0) + (decodeMs ?? 0), "e2e >= ttft + decode");
  claim(tokens < 2 ? timing.tpotMs === null : near(timing.tpotMs, (e2eMs - (ttftMs ?? 0)) / (tokens - 1)), "tpot");
  claim(timing.prefillTokens === promptTokens, "every prompt token was computed once");
  claim(timing.decodeTokens === tokens || timing.decodeTokens === tokens - 1, "decode tokens");
  claim(timing.preemptions === 0, "no preemption");
  claim(phases.length > 0 && near(phases[0]?.startMs ?? -1, 0), "phases begin at the submission");
  phases.forEach((span, i) => {
    const next = phases[i + 1];
    claim(span.endMs >= span.startMs, `phase ${i} ends after it starts`);
    claim(next === undefined || next.startMs + rounding >= span.endMs, `phase ${i} ends before the next`);
    claim((span.phase === "queued") === (span.lane === null), `phase ${i} has a lane when it works`);
    claim(span.endMs <= e2eMs + rounding, `phase ${i} ends before the request`);
  });
  const words = phases.map((span) => span.phase).filter((word, i, all) => word !== all[i - 1]);
  claim(/^queued prefill( decode)?$|^prefill( decode)?$/.test(words.join(" ")), `phases in order: ${words.join(" ")}`);
  claim(sum(phases.filter((span) => span.phase === "prefill").map((span) => span.tokens)) === promptTokens, "prefill spans hold the prompt");
  return found;
}

t.test("the times of every request hang together, alone and in a crowd, in every schedule", async (t) => {
  const model = await load(t, families.opt, { maxSequences: 5 });
  const prompts = [130, 1, 17, 64, 5, 33, 90, 2, 16].map((length, i) => randomIds(700 + i, length));
  for (const schedule of schedules) {
    for (const maxBatchTokens of [9, 512]) {
      await model.configure({ schedule, maxBatchTokens });
      const maxTokens = [1, 2, 25, 40, 7, 1, 30, 12, 3];
      const crowd = prompts.map((prompt, i) => model.generate(prompt, greedy(maxTokens[i] ?? 1)));
      const results = await within(Promise.all(crowd), "a crowd");
      t.same(results.flatMap(contradictions), [], `${schedule}, ${maxBatchTokens} tokens a step`);
    }
    const alone = await model.generate(prompts[0] as number[], greedy(10));
    t.same(contradictions(alone), [], `${schedule}, alone`);
  }
});

t.test("choices have times of their own and share the prompt's", async (t) => {
  const model = await load(t, families.opt);
  const result = await model.generate(randomIds(710, 40), { ...greedy(15), n: 3 });
  const times = (result.choices ?? []).map((choice) => choice.timing);
  t.equal(times.length, 3);
  t.ok(times.every((timing) => timing.itlMs.length === 14));
  t.equal(new Set(times.map((timing) => timing.submittedMs)).size, 1, "submitted together");
});

t.test("a request that waits for its place has that time in queueMs, and the waiting ends as the other does", async (t) => {
  const model = await load(t, families.opt, { maxSequences: 1 });
  for (const schedule of schedules) {
    await model.configure({ schedule });
    const [first, second] = await within(
      Promise.all([model.generate(randomIds(720, 50), greedy(80)), model.generate(randomIds(721, 50), greedy(5))]),
      "two requests for one place",
    );
    const end = (timing: RequestTiming): number => timing.submittedMs + (timing.ttftMs ?? NaN) + (timing.decodeMs ?? NaN);
    const began = second.timing.submittedMs + second.timing.queueMs;
    t.ok(began >= end(first.timing) - rounding, `${schedule}: the second begins work after the first's last token`);
    t.ok(second.timing.queueMs > first.timing.queueMs, `${schedule}: and its queue time says so`);
  }
});

t.test("an aborted request has times up to its end, null where there is none", async (t) => {
  const model = await load(t, bundledModel, { maxSequences: 1 });
  const running = model.stream(randomIds(730, 30), { ...greedy(1500), onAbort: "return" });
  await firstDelta(running);
  const controller = new AbortController();
  const options = { ...greedy(5), onAbort: "return", signal: controller.signal } as const;
  const waiting = model.generate(randomIds(731, 30), options);
  controller.abort();
  const { timing } = await within(waiting, "a request that waited");
  t.same([timing.ttftMs, timing.prefillMs, timing.decodeMs, timing.tpotMs], [null, null, null, null]);
  t.same(timing.itlMs, []);
  t.ok(timing.e2eMs >= timing.queueMs && timing.queueMs >= 0);
  running.abort();
  const partial = await running.result;
  t.equal(partial.timing.itlMs.length, partial.tokenIds.length - 1);
});

t.test("sequence work is timed as well: prefill by itself, decode by itself", async (t) => {
  const model = await load(t, families.opt);
  const sequence = await model.prefill(randomIds(740, 33));
  t.equal(sequence.timing.prefillTokens, 33);
  t.equal(sequence.timing.ttftMs, null, "a prefill has no token");
  const { result } = await collect(sequence.decode(greedy(6)));
  t.equal(result.timing.itlMs.length, 5);
  t.ok(result.timing.prefillTokens <= 1, "decode computes the last token again at most");
  t.ok(result.timing.ttftMs !== null && result.timing.decodeMs !== null);
  await sequence.dispose();
});

/** The phase spans that lie on a lane, of one result. */
function lanesOf(t: Test, result: Completion, phase: string): Set<string | null> {
  const spans = result.timing.phases.filter((span) => span.phase === phase);
  t.ok(spans.length > 0, `there is a ${phase} span`);
  return new Set(spans.map((span) => span.lane));
}

t.test('under "split" prompts run on the prefill lane and tokens on the decode lane', async (t) => {
  const model = await load(t, families.opt, { schedule: "split", threads: 2 });
  const results = await model.generate([randomIds(750, 60), randomIds(751, 9)], greedy(20));
  for (const result of results) {
    t.same([...lanesOf(t, result, "prefill")], ["prefill"]);
    t.same([...lanesOf(t, result, "decode")], ["decode"]);
  }
});
