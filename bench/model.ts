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

export interface Roofline {
  /** FLOP/s of all threads, measured in the same run. */
  peakFlops: number;
  /** Bytes/s of reading from memory with all threads, measured in the same run. */
  readBandwidth: number;
}

export async function modelRows({ repeats, roofline }: { repeats: number; roofline: Roofline }): Promise<BenchRow[]> {
  say("model: OPT-125M's shape, random weights");
  const folder = await opt125m();
  const rows: BenchRow[] = [];
  for (const dtype of ["f32", "f16"] as const) {
    const model = await loadModel(folder, { dtype, schedule: "sequential", maxModelLen: 2048, maxSequences: 4 });
    try {
      rows.push(await prefillRow(model, dtype, repeats, roofline), await decodeRow(model, dtype, repeats, roofline));
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

async function prefillRow(model: Model, dtype: StorageOption, repeats: number, { peakFlops }: Roofline): Promise<BenchRow> {
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
    baseline: { name: "f32 FMA peak", value: (peakFlops * promptTokens) / prefillFlops(promptTokens) },
  });
}

async function decodeRow(model: Model, dtype: "f32" | "f16", repeats: number, { readBandwidth }: Roofline): Promise<BenchRow> {
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
    baseline: { name: "read bandwidth", value: readBandwidth / bytes },
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
