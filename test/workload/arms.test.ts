import t from "tap";
import { countRequests, findDifference, runArms, type ArmModel, type ArmRun } from "../../dist/workload/arms.js";
import { summarizeArm, timingRows } from "../../dist/workload/summary.js";
import type { Completion } from "../../dist/index.js";

function completion(tokenIds: number[], ttftMs = 10, itlMs: number[] = [1]): Completion {
  return {
    text: "",
    tokenIds,
    finishReason: "stop",
    promptTokens: 4,
    cachedTokens: 0,
    timing: {
      submittedMs: 100,
      queueMs: 1,
      prefillMs: 9,
      ttftMs,
      decodeMs: 1,
      itlMs,
      tpotMs: 1,
      e2eMs: ttftMs + 1,
      phases: [
        { phase: "queued", startMs: 0, endMs: 1, lane: null, tokens: 0 },
        { phase: "prefill", startMs: 1, endMs: 10.12345, lane: "prefill", tokens: 4 },
      ],
      prefillTokens: 4,
      decodeTokens: 1,
      preemptions: 0,
    },
  };
}

/** Says which schedule each request ran under, and how many were in flight. */
function fakeModel(): ArmModel & { log: string[]; mostInFlight: number } {
  let schedule = "none";
  let inFlight = 0;
  const model = {
    log: [] as string[],
    mostInFlight: 0,
    configure: async (options: { schedule?: string }) => {
      schedule = options.schedule ?? schedule;
    },
    generate: async (prompt: readonly number[] | Uint32Array) => {
      model.log.push(`${schedule}:${prompt[0]}`);
      inFlight += 1;
      model.mostInFlight = Math.max(model.mostInFlight, inFlight);
      await new Promise((resolve) => setImmediate(resolve));
      inFlight -= 1;
      return completion([prompt[0] ?? 0, 2]);
    },
  };
  return model;
}

const prompts = [0, 1, 2, 3, 4].map((report) => ({ report, tokenIds: [report] }));

t.test("every arm warms up, then rounds are interleaved and the order of the arms turns", async (t) => {
  const model = fakeModel();
  const arms = ["sequential", "chunked", "split"] as const;
  const options = { model, arms, prompts, batch: 2, rounds: 3, generate: { maxTokens: 2 } };
  const seen: string[] = [];
  const runs = await runArms({ ...options, onRequest: ({ arm, round }) => seen.push(`${arm} ${round}`) });
  t.same(
    runs.map(({ arm, round }) => `${round} ${arm}`),
    ["1 sequential", "1 chunked", "1 split", "2 chunked", "2 split", "2 sequential", "3 split", "3 sequential", "3 chunked"],
  );
  t.same(model.log.slice(0, 6), ["sequential:0", "sequential:1", "chunked:0", "chunked:1", "split:0", "split:1"]);
  t.same(model.log.slice(6, 11), [0, 1, 2, 3, 4].map((report) => `sequential:${report}`));
  t.equal(model.mostInFlight, 2, "a batch is in flight at once, never more");
  t.equal(model.log.length, countRequests(options));
  t.equal(seen.length, countRequests(options));
  t.equal(seen.filter((what) => what.endsWith("warm-up")).length, 6);
  for (const { completions } of runs) t.same(completions.map(({ tokenIds }) => tokenIds[0]), [0, 1, 2, 3, 4], "order of the prompts");
});

t.test("a request that fails ends the run with its error", async (t) => {
  const model = { ...fakeModel(), generate: async () => Promise.reject(new Error("lost")) };
  await t.rejects(runArms({ model, arms: ["split"], prompts, batch: 2, rounds: 1, generate: {} }), { message: "lost" });
});

const run = (arm: ArmRun["arm"], round: number, tokens: number[][], wallMs = 100): ArmRun => ({
  arm,
  round,
  wallMs,
  completions: tokens.map((tokenIds) => completion(tokenIds)),
});
const two = [
  { report: 7, tokenIds: [1] },
  { report: 9, tokenIds: [2] },
];

t.test("tokens are compared over all arms and rounds, and the first difference is named", (t) => {
  const same = [run("sequential", 1, [[1, 2], [3]]), run("split", 1, [[1, 2], [3]])];
  t.equal(findDifference(same, two), null);
  t.same(findDifference([...same, run("split", 2, [[1, 2], [4]])], two), { arm: "split", round: 2, report: 9, position: 0 });
  t.same(findDifference([...same, run("chunked", 2, [[1, 2, 5], [3]])], two), { arm: "chunked", round: 2, report: 7, position: 2 });
  t.same(findDifference([...same, run("chunked", 2, [[1], [3]])], two), { arm: "chunked", round: 2, report: 7, position: 1 });
  t.end();
});

t.test("ratios are taken within a round: wall time of the base over one's own", (t) => {
  const runs = [
    run("sequential", 1, [[1, 2]], 100),
    run("split", 1, [[1, 2]], 50),
    run("sequential", 2, [[1, 2]], 300),
    run("split", 2, [[1, 2]], 100),
  ];
  const summary = summarizeArm(runs, "split", "sequential");
  t.same(summary.ratio, { median: 2.5, min: 2, max: 3 });
  t.same(summary.promptTokensPerSecond, { median: 60, min: 40, max: 80 });
  t.same(summary.outputTokensPerSecond, { median: 30, min: 20, max: 40 });
  t.same(summary.ttftMs, { p50: 10, p99: 10, max: 10 });
  t.same(summarizeArm(runs, "sequential", "sequential").ratio, { median: 1, min: 1, max: 1 });
  t.end();
});

t.test("timings have one line a request, arm and round, all fields of the timing in it", (t) => {
  const rows = timingRows([run("split", 1, [[1, 2], [3]]), run("sequential", 1, [[1, 2], [3]])], two);
  const [header, first] = rows;
  t.equal(rows.length, 5);
  t.same(new Set(rows.map((row) => row.length)), new Set([header?.length]));
  const fields = Object.fromEntries((header ?? []).map((name, i) => [String(name), first?.[i]]));
  t.match(fields, { arm: "split", round: 1, report: 7, promptTokens: 4, outputTokens: 2, finishReason: "stop", ttftMs: 10, e2eMs: 11 });
  t.equal(fields["phases"], "queued:-:0:1:0 prefill:prefill:1:10.123:4");
  for (const name of Object.keys(completion([1]).timing)) t.ok(name in fields, `${name} has a column`);
  t.end();
});
