// splitwiser bench: rates of a loaded model under the schedules, as llama-bench prints them.

import { Option, type Command } from "commander";
import { SplitwiserError } from "../errors.js";
import { arms, type Arm } from "../workload/arms.js";
import { benchModel, type ModelBenchRow } from "../workload/model-bench.js";
import { addModelOptions, integerFrom, wordsOf, type ModelArguments } from "./arguments.js";
import { withModel } from "./open.js";
import { createProgress } from "./progress.js";
import type { Runner } from "./runner.js";
import { colorsOf, numberText, printJson, printLine, tableText, type Colors } from "./terminal.js";

interface BenchArguments extends ModelArguments {
  schedules: Arm[];
  promptTokens: number;
  outputTokens: number;
  streams: number;
  repetitions: number;
  seed: number;
}

export function addBench(program: Command, run: Runner): void {
  const command = program.command("bench").description("Measure prompt and generation rates of a model under the schedules.");
  addModelOptions(command)
    .addOption(new Option("--schedules <list>", "schedules to measure").argParser(wordsOf(arms)).default([...arms], arms.join(",")))
    .option("--prompt-tokens <n>", "length of the prompt (pp)", integerFrom(1), 512)
    .option("--output-tokens <n>", "tokens to generate (tg)", integerFrom(2), 64)
    .option("--streams <n>", "streams that run when the prompt of the mixed test arrives", integerFrom(1), 4)
    .option("--repetitions <n>", "runs of each test that are counted, after one that is not", integerFrom(1), 5)
    .option("--seed <n>", "of the random tokens", integerFrom(0), 0)
    .action(run(async (given: BenchArguments, { signal }) => {
      await withModel({ given, signal }, async (model) => {
        const needed = Math.max(given.promptTokens, given.outputTokens) + 1;
        if (needed > model.config.maxModelLen) {
          throw new SplitwiserError(
            "PROMPT_TOO_LONG",
            `expected a test within the ${model.config.maxModelLen} tokens that a sequence can hold, got ${needed}: lower --prompt-tokens or --output-tokens`,
          );
        }
        const progress = createProgress();
        let rows: ModelBenchRow[];
        try {
          rows = await benchModel({ ...given, model, signal, onRun: (done, total, what) => progress.update(done, total, what) });
        } finally {
          progress.stop();
        }
        const { id, name, isa } = model.device;
        const about = { model: given.model, parameters: model.config.parameters, dtype: model.config.dtype, device: { id, name, isa } };
        if (given.json === true) {
          printJson({ ...about, repetitions: given.repetitions, seed: given.seed, rows });
        } else {
          const millions = (about.parameters / 1e6).toFixed(1);
          printLine(`${given.model}, ${millions} M parameters, ${about.dtype}, on ${id} (${name}, ${isa})\n`);
          printLine(benchTable(rows, colorsOf(process.stdout)));
          printLine(`\ntok/s: median (min..max) of ${given.repetitions} runs; ITL in ms, of the streams`);
        }
      });
    }));
}

function benchTable(rows: readonly ModelBenchRow[], colors: Colors): string {
  return tableText(
    [{ head: "schedule", align: "left" }, { head: "test", align: "left" }, { head: "tok/s" }, { head: "ITL p50 / p99 / max" }],
    rows.map(({ schedule, test, tokensPerSecond: rate, itlMs }) => [
      schedule,
      test,
      rate === null ? "-" : `${numberText(rate.median)} (${numberText(rate.min)}..${numberText(rate.max)})`,
      itlMs === null ? "-" : `${numberText(itlMs.p50)} / ${numberText(itlMs.p99)} / ${numberText(itlMs.max)}`,
    ]),
    colors,
  );
}
