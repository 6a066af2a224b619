// With a 4k prompt running, a decode step never waits for more than 2 prefill layer groups: shown by the simulated device's own
// record, in which decode steps are graphs and each layer of a prompt has one write of keys and values.

import t from "tap";

import { randomModel } from "../../helpers/synthetic.js";
import { nothingFound, runOnDevice, type Grid, type Report, type Settings } from "./simulator.js";

t.setTimeout(600_000);

const layers = 3;
const promptTokens = 4096;
const chunk = 512;
const mostGroups = 2;

/** A stream generates as long as a long prompt is computed. Every layer is a group of its own: it takes longer than a quarter of the gap. */
const program = (folder: string, partition: string): string => `
  const model = await loadModel(${JSON.stringify(folder)}, {
    device: "cuda", schedule: "split", partition: ${JSON.stringify(partition)}, maxTokenGapMs: 0.001, maxBatchTokens: ${chunk}, maxSequences: 2,
  });
  const stream = model.stream(ids(20, 1), { maxTokens: 4000, ignoreEos: true, onAbort: "return" });
  const iterator = stream[Symbol.asyncIterator]();
  await iterator.next();
  void (async () => { while (!(await iterator.next()).done); })();
  await model.generate(ids(${promptTokens}, 2), { maxTokens: 1, ignoreEos: true });
  stream.abort();
  await stream.result;
  say(model.device.partition);
  await model.dispose();
`;

interface Step {
  enqueued: number;
  begin: number;
  end: number;
}

const inOrder = (grids: Grid[]): Grid[] => grids.sort((a, b) => a.begin - b.begin);

/** A decode step begins with the kernel that no graph has twice. */
function decodeSteps({ trace }: Report): Step[] {
  const steps: Step[] = [];
  for (const { kernel, enqueued, begin, end } of inOrder(trace.filter(({ graph }) => graph))) {
    if (kernel === "step_feed") steps.push({ enqueued, begin, end });
    const step = steps.at(-1);
    if (step) step.end = end;
  }
  return steps;
}

const cases: { name: string; settings: Settings; partition: string; got: string }[] = [
  { name: "lanes with multiprocessors of their own", settings: {}, partition: "auto", got: "green-context" },
  { name: "lanes that share all multiprocessors", settings: {}, partition: "priority", got: "priority" },
  // A layer of a prompt has several launches, a decode step one: the lane of prompts is the one that stands still most of the time.
  { name: "every launch blocks its caller", settings: { STALL: "1:5" }, partition: "auto", got: "green-context" },
];

for (const { name, settings, partition, got } of cases) {
  t.test(`${name}: a decode step waits for at most ${mostGroups} layer groups`, async (t) => {
    const folder = randomModel(t, { layers, hidden: 64, heads: 1, ffn: 64, positions: promptTokens + 16, storage: "f16" });
    const { said, report } = await runOnDevice(t, { SMS: 16, TRACE: 1_000_000, ...settings }, program(folder, partition));
    t.same(said, [got]);
    nothingFound(t, report);
    t.equal(report.trace_dropped, 0, "the record is whole");
    t.same(report.trace.filter(({ enqueued, begin, end }) => enqueued > begin || begin > end), [], "and in order");
    const groups = inOrder(report.trace.filter(({ graph, kernel }) => !graph && kernel.startsWith("kv_write")));
    t.equal(groups.length, layers * (1 + promptTokens / chunk), "one write of keys and values a layer and chunk, and those of the short prompt");
    const steps = decodeSteps(report);
    t.equal(steps.length, report.graph_launches, "every decode step is found");

    const long = groups.slice(layers);
    const from = long[0]?.begin ?? 0;
    const to = long.at(-1)?.end ?? 0;
    const pairs = steps.slice(1).map((step, i) => ({ before: steps[i] as Step, step }));
    const beside = pairs.filter(({ before, step }) => before.end < to && step.begin > from);
    t.ok(beside.length >= long.length / mostGroups, "decode steps begin while the prompt is computed", { steps: beside.length });
    // What was enqueued cannot be called back: it bounds every wait, however the device chooses.
    const ahead = beside.map(({ step }) => groups.filter(({ enqueued, end }) => enqueued < step.enqueued && end >= step.enqueued).length);
    t.ok(Math.max(...ahead) <= mostGroups, "groups enqueued before a step and not done", { ahead });
    t.ok(Math.max(...ahead) > 0, "but for some there is a group to wait for");
    // From the end of the step before, which is what a step needs, to its own begin: the host's part of the way as well.
    const waited = beside.map(({ before, step }) => groups.filter(({ begin }) => begin > before.end && begin < step.begin).length);
    t.ok(Math.max(...waited) <= mostGroups, "groups begun between two steps", { waited });
  });
}
