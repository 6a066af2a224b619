// A whole model of OPT-125M's shape: prefill beside the arithmetic peak, generation beside the memory's bandwidth, and what a long prefill
// does to the event loop beside an idle one.
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout } from "node:timers/promises";
import { loadModel, type Model, type StorageOption } from "../dist/index.js";
import { createRandom } from "../dist/workload/random.js";
import { randomTokens } from "../dist/workload/model-bench.js";
import { decodeBytes, opt125m, prefillFlops } from "./opt125m.js";
import { figureOf, makeRow, say, type BenchRow } from "./row.js";

const promptTokens = 512;
const outputTokens = 64;
const longPrompt = 1536;

/** One thing that bounds a device: FLOP/s or bytes/s, and in words what it is and where the number is from. */
export interface Limit {
  name: string;
  value: number;
}

/** null: not known. On a CPU both are measured with all threads in the same run. */
export interface Roofline {
  flops: Record<"f32" | "f16", Limit | null>;
  bandwidth: Limit | null;
}

export interface ModelRowsOptions {
  device: "cpu" | `cuda:${number}`;
  repeats: number;
  roofline: Roofline;
}

export async function modelRows({ device, repeats, roofline }: ModelRowsOptions): Promise<BenchRow[]> {
  say(`model: OPT-125M's shape, random weights, on ${device}`);
  const folder = await opt125m();
  const rows: BenchRow[] = [];
  for (const dtype of ["f32", "f16"] as const) {
    const model = await loadModel(folder, { device, dtype, schedule: "sequential", maxModelLen: 2048, maxSequences: 4 });
    try {
      rows.push(await prefillRow(model, dtype, repeats, roofline.flops[dtype]), await decodeRow(model, dtype, repeats, roofline.bandwidth));
      if (dtype === "f32") rows.push(...(await eventLoopRows(model)));
    } finally {
      await model.dispose();
    }
  }
  return rows;
}

/** One more run before them is not counted. */
async function repeated(repeats: number, run: () => Promise<number>): Promise<number[]> {
  await run();
  const values: number[] = [];
  for (let i = 0; i < repeats; i++) values.push(await run());
  return values;
}

/** The rate that a limit allows, in tokens/s. */
const allowed = (limit: Limit | null, tokensPerUnit: number): BenchRow["baseline"] =>
  limit === null ? null : { name: limit.name, value: limit.value * tokensPerUnit };

async function prefillRow(model: Model, dtype: StorageOption, repeats: number, peak: Limit | null): Promise<BenchRow> {
  const random = createRandom(1);
  const rates = await repeated(repeats, async () => {
    const { timing } = await model.generate(randomTokens(promptTokens, model.config.vocab, random), { maxTokens: 1 });
    return (1000 * promptTokens) / (timing.prefillMs ?? Number.NaN);
  });
  return makeRow({
    group: "model",
    name: `pp${promptTokens} ${dtype}`,
    unit: "tok/s",
    ...figureOf(rates),
    baseline: allowed(peak, promptTokens / prefillFlops(promptTokens)),
  });
}

async function decodeRow(model: Model, dtype: "f32" | "f16", repeats: number, bandwidth: Limit | null): Promise<BenchRow> {
  const random = createRandom(2);
  const rates = await repeated(repeats, async () => {
    const prompt = randomTokens(8, model.config.vocab, random);
    const { timing, tokenIds } = await model.generate(prompt, { maxTokens: outputTokens, ignoreEos: true });
    return (1000 * (tokenIds.length - 1)) / (timing.decodeMs ?? Number.NaN);
  });
  const size = dtype === "f32" ? 4 : 2;
  const bytes = decodeBytes({ weightBytes: size, cacheBytes: size, context: 8 + outputTokens / 2 });
  return makeRow({
    group: "model",
    name: `tg${outputTokens} ${dtype}`,
    unit: "tok/s",
    ...figureOf(rates),
    baseline: allowed(bandwidth, 1 / bytes),
  });
}

/** How late timers fire while a long prompt is computed, beside how late they fire when nothing runs for as long. */
async function eventLoopRows(model: Model): Promise<BenchRow[]> {
  const prompt = randomTokens(longPrompt, model.config.vocab, createRandom(3));
  const delays = async (work: () => Promise<unknown>): Promise<{ p50: number; p99: number; max: number }> => {
    const histogram = monitorEventLoopDelay({ resolution: 1 });
    histogram.enable();
    await work();
    histogram.disable();
    return { p50: histogram.percentile(50) / 1e6, p99: histogram.percentile(99) / 1e6, max: histogram.max / 1e6 };
  };
  let prefillMs = 0;
  const busy = await delays(async () => {
    const { timing } = await model.generate(prompt, { maxTokens: 1 });
    prefillMs = timing.prefillMs ?? 0;
  });
  const idle = await delays(() => setTimeout(prefillMs));
  return (["p50", "p99", "max"] as const).map((which) =>
    makeRow({
      group: "model",
      name: `event-loop delay, pp${longPrompt} f32, ${which}`,
      unit: "ms",
      value: busy[which],
      spread: null,
      baseline: { name: "idle process", value: idle[which] },
    }),
  );
}
