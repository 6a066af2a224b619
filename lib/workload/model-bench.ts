// Rates of a loaded model, phase by phase: a prompt alone, one stream alone, and a prompt that lands among running streams, which is where
// schedules differ. Rates come from the engine's own stamps, not from JS.

import type { Completion, CompletionStream, GenerateOptions, TokenIds } from "../types.js";
import type { Arm, ArmModel } from "./arms.js";
import { createRandom } from "./random.js";
import { percentile, spread, type Spread } from "./statistics.js";

export interface BenchModel extends ArmModel {
  readonly config: { vocab: number; maxModelLen: number };
  stream(prompt: TokenIds, options?: GenerateOptions): CompletionStream;
}

export interface ModelBenchOptions {
  model: BenchModel;
  schedules: readonly Arm[];
  promptTokens: number;
  outputTokens: number;
  /** Streams that run when the prompt of the mixed test arrives. */
  streams: number;
  /** Counted runs of each test; one more before them is not counted. */
  repetitions: number;
  seed: number;
  signal?: AbortSignal | undefined;
  /** Called after each run. */
  onRun?: ((done: number, total: number, what: string) => void) | undefined;
}

export interface ModelBenchRow {
  schedule: Arm;
  /** "pp512": a prompt alone. "tg64": one stream alone. "pp512 into 4 streams": the prompt's rate is from submission to first token. */
  test: string;
  /** Median with min..max over repetitions. */
  tokensPerSecond: Spread | null;
  /** Gaps between tokens of the streams, all repetitions together; null for a prompt alone. */
  itlMs: { p50: number | null; p99: number | null; max: number | null } | null;
}

interface Sample {
  tokensPerSecond: number;
  itlMs: number[];
}

/** Plain tokens: the first ids are special ones in most vocabularies. */
export function randomTokens(count: number, vocab: number, random: () => number): number[] {
  const first = Math.min(16, vocab - 1);
  return Array.from({ length: count }, () => first + Math.floor(random() * (vocab - first)));
}

export async function benchModel(options: ModelBenchOptions): Promise<ModelBenchRow[]> {
  const { model, schedules, promptTokens, outputTokens, streams, repetitions } = options;
  const random = createRandom(options.seed);
  const tokens = (count: number): number[] => randomTokens(count, model.config.vocab, random);
  const shared: GenerateOptions = { ignoreEos: true, ...(options.signal === undefined ? {} : { signal: options.signal }) };
  const tests: [string, () => Promise<Sample>][] = [
    [`pp${promptTokens}`, () => promptAlone(model, tokens(promptTokens), shared)],
    [`tg${outputTokens}`, () => streamAlone(model, tokens(1), { ...shared, maxTokens: outputTokens })],
    [
      `pp${promptTokens} into ${streams} streams`,
      () => promptIntoStreams(model, tokens(promptTokens), Array.from({ length: streams }, () => tokens(8)), shared),
    ],
  ];
  const total = schedules.length * tests.length * (repetitions + 1);
  let done = 0;
  const samples = new Map<string, Sample[]>();
  // Interleaved, so that noise hits all schedules alike.
  for (let repetition = 0; repetition <= repetitions; repetition++) {
    for (const schedule of schedules) {
      await model.configure({ schedule });
      for (const [test, run] of tests) {
        const sample = await run();
        const key = `${schedule} ${test}`;
        if (repetition > 0) samples.set(key, [...(samples.get(key) ?? []), sample]);
        done += 1;
        options.onRun?.(done, total, key);
      }
    }
  }
  return schedules.flatMap((schedule) => tests.map(([test]) => makeRow(schedule, test, samples.get(`${schedule} ${test}`) ?? [])));
}

function makeRow(schedule: Arm, test: string, samples: readonly Sample[]): ModelBenchRow {
  const gaps = samples.flatMap(({ itlMs }) => itlMs);
  return {
    schedule,
    test,
    tokensPerSecond: spread(samples.map(({ tokensPerSecond }) => tokensPerSecond)),
    itlMs: gaps.length === 0 ? null : { p50: percentile(gaps, 50), p99: percentile(gaps, 99), max: percentile(gaps, 100) },
  };
}

const rate = (tokens: number, ms: number | null): number => (ms === null || ms <= 0 ? Number.NaN : (1000 * tokens) / ms);

async function promptAlone(model: BenchModel, prompt: number[], options: GenerateOptions): Promise<Sample> {
  const { timing } = await model.generate(prompt, { ...options, maxTokens: 1 });
  return { tokensPerSecond: rate(prompt.length, timing.prefillMs), itlMs: [] };
}

async function streamAlone(model: BenchModel, prompt: number[], options: GenerateOptions): Promise<Sample> {
  const { timing, tokenIds } = await model.generate(prompt, options);
  return { tokensPerSecond: rate(tokenIds.length - 1, timing.decodeMs), itlMs: timing.itlMs };
}

async function promptIntoStreams(model: BenchModel, prompt: number[], heads: number[][], options: GenerateOptions): Promise<Sample> {
  const endless = { ...options, maxTokens: model.config.maxModelLen, onAbort: "return" } as const;
  const running = heads.map((head) => model.stream(head, endless));
  let outputs: Completion[] = [];
  let sample: Completion;
  try {
    await Promise.all(running.map((stream) => firstDelta(stream)));
    sample = await model.generate(prompt, { ...options, maxTokens: 1 });
  } finally {
    for (const stream of running) stream.abort();
    outputs = await Promise.all(running.map(({ result }) => result));
  }
  return { tokensPerSecond: rate(prompt.length, sample.timing.ttftMs), itlMs: outputs.flatMap(({ timing }) => timing.itlMs) };
}

/** Waits for the first output without ending the stream, as leaving a loop would. */
async function firstDelta(stream: CompletionStream): Promise<void> {
  await stream[Symbol.asyncIterator]().next();
}
