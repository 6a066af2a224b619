// Prefill and decode really run at the same time on the GPU: shown by the simulated device's own record.

import t from "tap";

import { bundledModel } from "../../helpers/paths.js";
import { nothingFound, runOnDevice, type Grid, type Report } from "./simulator.js";

t.setTimeout(1_200_000);

/** Two streams generate while a long prompt is computed. */
const program = `
  const model = await loadModel(${JSON.stringify(bundledModel)}, { device: "cuda", schedule: "split", maxBatchTokens: 512 });
  const running = [1, 2].map((seed) => model.stream(ids(20, seed), { maxTokens: 30, ignoreEos: true }));
  await Promise.all(running.map(async (stream) => {
    const iterator = stream[Symbol.asyncIterator]();
    await iterator.next();
    void (async () => { while (!(await iterator.next()).done); })();
  }));
  const prompt = await model.generate(ids(400, 3), { maxTokens: 1, ignoreEos: true });
  const results = await Promise.all(running.map((stream) => stream.result));
  say({
    partition: model.device.partition, notes: model.device.partitionNotes, lanes: model.device.lanes,
    prompt: prompt.timing.phases, tokens: results.map((one) => one.tokenIds.length),
    shared: model.timeline().map((event) => event.sharedSms),
  });
  await model.dispose();
`;

/** `npm run test:cuda` builds for all targets; other builds have PTX of sm_80 for what is newer. */
const hasCodeFor90 = /all|90/.test(process.env["SPLITWISER_CUDA_ARCHS"] ?? "");

const decodes = (grid: Grid): boolean => grid.graph;
const prefills = (grid: Grid): boolean => !grid.graph && /prefill|wide/.test(grid.kernel);
const together = (a: Grid, b: Grid): boolean => a.begin < b.end && b.begin < a.end;

function overlapping(report: Report): [Grid, Grid][] {
  const decode = report.trace.filter(decodes);
  return report.trace.filter(prefills).flatMap((long) => decode.filter((one) => together(long, one)).map((one): [Grid, Grid] => [long, one]));
}

t.test("kernels of both lanes are in flight together, on disjoint multiprocessors", async (t) => {
  const { said, report } = await runOnDevice(t, { SMS: 32, ARCH: 90 }, program);
  const { partition, lanes, shared } = said[0] as {
    partition: string; lanes: Record<"prefill" | "decode", { sms: number }>; shared: boolean[];
  };
  t.ok(shared.includes(true) && shared.includes(false), "the timeline says when lanes that part still had the same multiprocessors", { shared });
  t.equal(partition, "green-context");
  t.equal(lanes.prefill.sms + lanes.decode.sms, 32, "the lanes' shares are all there is");
  nothingFound(t, report);
  const pairs = overlapping(report);
  t.ok(pairs.length > 20, "grids of a prompt and of decode graphs run at the same time", { pairs: pairs.length });
  const apart = pairs.filter(([a, b]) => a.sms.length + b.sms.length <= 32);
  t.ok(apart.length > 10, "most of them on their partitions", { apart: apart.length, pairs: pairs.length });
  t.same(apart.filter(([a, b]) => a.sms.some((sm) => b.sms.includes(sm))), [], "which have no multiprocessor in common");
});

t.test("without green contexts the lanes still overlap, and the library says what it has", async (t) => {
  const chain = [
    { settings: { GREEN: 0, MPS: 1 }, partition: "mps", notes: 1 },
    { settings: { GREEN: 0, MPS: 0 }, partition: "cta-quota", notes: 2 },
  ] as const;
  for (const { settings, partition, notes } of chain) {
    const { said, report } = await runOnDevice(t, { SMS: 32, ARCH: 90, ...settings }, program);
    const got = said[0] as { partition: string; notes: string[] };
    t.equal(got.partition, partition);
    t.equal(got.notes.length, notes, "why the earlier links were not taken", { got });
    t.ok(overlapping(report).length > 20, `${partition}: grids of both lanes run at the same time`);
    nothingFound(t, report);
  }
});

/** Work while tokens come and nothing joins or leaves. */
const steady = (tokens: number): string => `
  const model = await loadModel(${JSON.stringify(bundledModel)}, { device: "cuda", schedule: "split" });
  const result = await model.generate(ids(20, 1), { maxTokens: ${tokens}, ignoreEos: true, n: 2 });
  say(result.choices.map((one) => one.tokenIds.length));
  await model.dispose();
`;

t.test("decoding more tokens allocates nothing, waits for no stream or context and copies from no pageable memory", async (t) => {
  const short = (await runOnDevice(t, { SMS: 16 }, steady(10))).report;
  const long = (await runOnDevice(t, { SMS: 16 }, steady(30))).report;
  t.equal(long.device_allocations, short.device_allocations, "device memory");
  t.equal(long.host_allocations, short.host_allocations, "pinned memory");
  t.equal(long.pageable_copies, 0, "no copy from pageable memory");
  for (const call of ["cuCtxSynchronize", "cuStreamSynchronize"]) {
    t.equal(long.host_syncs[call] ?? 0, short.host_syncs[call] ?? 0, call);
  }
  // Of 20 + 30 tokens, those from 32 and from 48 on are on new pages, of both choices at the same time.
  t.equal(long.launches - short.launches, 2, "every further step is a graph, and a patch where pages are added");
  t.ok(long.graph_launches - short.graph_launches >= 19, "one graph launch a step", { short, long });
});

t.test("kernels of a decode graph may begin beside the one before them where their code waits for it", async (t) => {
  for (const arch of [80, 90]) {
    const { report } = await runOnDevice(t, { SMS: 16, ARCH: arch }, steady(4));
    nothingFound(t, report);
    t.ok(report.graph_launches > 0);
    const waits = arch === 90 && hasCodeFor90;
    t.equal(report.programmatic_nodes, waits ? report.graph_nodes - report.graph_launches : 0, `sm_${arch}: all but the first of each graph, or none`);
  }
});
