// What JavaScript costs around the engine: submitting, delivering events, tokenising. The bundled model is so small that it hides little.
import Benchmark from "benchmark";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Tokenizer } from "tokenizers";
import { packageRoot } from "../dist/addon.js";
import { loadModel, type Model } from "../dist/index.js";
import { percentile } from "../dist/workload/statistics.js";
import { figureOf, makeRow, say, type BenchRow } from "./row.js";

type Work = (() => void) | (() => Promise<unknown>);
type Figure = Pick<BenchRow, "value" | "spread">;

/** Microseconds of one run of each work, measured in turns by the benchmark package. */
async function measure(works: Record<string, { defer: boolean; run: Work }>): Promise<Map<string, Figure>> {
  const suite = new Benchmark.Suite();
  for (const [name, { defer, run }] of Object.entries(works)) {
    const fn = defer
      ? (deferred: { resolve(): void }): void => {
          void Promise.resolve(run()).then(() => deferred.resolve());
        }
      : (): void => void run();
    suite.add(name, { defer, fn, maxTime: 1 });
  }
  await new Promise<void>((resolve) => suite.on("complete", () => resolve()).run({ async: true }));
  const found = new Map<string, Figure>();
  suite.forEach((bench: Benchmark) => {
    found.set(String(bench.name), figureOf(bench.stats.sample.map((seconds) => seconds * 1e6)));
  });
  return found;
}

function pick(found: Map<string, Figure>, name: string): Figure {
  const figure = found.get(name);
  if (figure === undefined) throw new Error(`no figure of ${name}`);
  return figure;
}

export async function jsRows(): Promise<BenchRow[]> {
  say("js: submit, round trip, tokenise, event delivery");
  const model = await loadModel("radiology", { schedule: "sequential" });
  try {
    return [...(await costRows(model)), ...(await deliveryRows(model))];
  } finally {
    await model.dispose();
  }
}

async function costRows(model: Model): Promise<BenchRow[]> {
  const folder = join(packageRoot, "models");
  const report = readFileSync(join(folder, "radiology-data", "test.findings.tok"), "utf8").split("\n")[0] ?? "";
  const text = `### findings: ${report} ### impressions:`;
  const bare = Tokenizer.fromFile(join(folder, "splitwiser-radiology-opt", "tokenizer.json"));
  const pending: Promise<unknown>[] = [];
  const found = await measure({
    "async call": { defer: true, run: async () => undefined },
    "submit and abort": {
      defer: false,
      run: () => {
        const stream = model.stream([2, 100], { maxTokens: 1 });
        stream.abort();
        pending.push(stream.result.catch(() => undefined));
      },
    },
    "round trip": { defer: true, run: () => model.generate([2, 100], { maxTokens: 1 }) },
    "loop turn": { defer: true, run: () => new Promise((resolve) => setImmediate(resolve)) },
    tokenise: { defer: true, run: () => model.tokenizer.encode(text) },
    "bare tokenizers": { defer: true, run: () => bare.encode(text) },
  });
  await Promise.all(pending);
  const samples: number[] = [];
  for (let i = 0; i < 50; i++) samples.push(1000 * (await model.generate([2, 100], { maxTokens: 1 })).timing.e2eMs);
  const engine = figureOf(samples).value;
  const tokens = (await model.tokenizer.encode(text)).length;
  const row = (name: string, from: string, baseline: BenchRow["baseline"]): BenchRow =>
    makeRow({ group: "js", name, unit: "us", ...pick(found, from), baseline });
  return [
    row("submit and abort, JS thread", "submit and abort", { name: "empty async call", value: pick(found, "async call").value }),
    row("request of 1 token, whole", "round trip", {
      name: "engine's own time + a turn of the loop",
      value: engine + pick(found, "loop turn").value,
    }),
    row(`tokenise ${tokens} tokens`, "tokenise", { name: "tokenizers alone", value: pick(found, "bare tokenizers").value }),
  ];
}

/** From the moment that a token was sampled (native stamp) to the moment that JS has it, on the engine's one clock. */
async function deliveryRows(model: Model): Promise<BenchRow[]> {
  const rows: BenchRow[] = [];
  for (const streams of [1, 16]) {
    const lags = (await Promise.all(Array.from({ length: streams }, () => streamLags(model)))).flat();
    const baseline = { name: "a turn of the loop", value: await loopTurn() };
    for (const percent of [50, 99]) {
      const value = percentile(lags, percent) ?? Number.NaN;
      const name = `token to JS, ${streams} ${streams === 1 ? "stream" : "streams"}, p${percent}`;
      rows.push(makeRow({ group: "js", name, unit: "us", value, spread: null, baseline }));
    }
  }
  return rows;
}

async function streamLags(model: Model): Promise<number[]> {
  const stream = model.stream([2, 100], { maxTokens: 128, ignoreEos: true });
  const received: { tokens: number; nowMs: number }[] = [];
  let tokens = 0;
  for await (const delta of stream) {
    tokens += delta.tokenIds.length;
    received.push({ tokens, nowMs: model.stats().nowMs });
  }
  const { timing } = await stream.result;
  let at = timing.submittedMs + (timing.ttftMs ?? 0);
  const sampled = [at, ...timing.itlMs.map((gap) => (at += gap))];
  return received.flatMap(({ tokens: count, nowMs }) => {
    const stamp = sampled[count - 1];
    return stamp === undefined ? [] : [1000 * (nowMs - stamp)];
  });
}

async function loopTurn(): Promise<number> {
  const turns: number[] = [];
  for (let i = 0; i < 1000; i++) {
    const start = performance.now();
    await new Promise((resolve) => setImmediate(resolve));
    turns.push(1000 * (performance.now() - start));
  }
  return percentile(turns, 50) ?? Number.NaN;
}
