// splitwiser experiment radiology: the paper's run. Arguments here; experiment-run.ts runs, experiment-report.ts prints and writes.

import { Option, type Command } from "commander";
import { radiologyCases, type RadiologyCase } from "../workload/radiology.js";
import { arms, type Arm } from "../workload/arms.js";
import { addModelOptions, integerFrom, wordsOf, type ModelArguments } from "./arguments.js";
import { makeFolder, printExperiment, writeExperiment } from "./experiment-report.js";
import { dataFiles, runExperiment, type ExperimentPlan } from "./experiment-run.js";
import { exitCodes } from "./failure.js";
import type { Runner } from "./runner.js";
import { printJson } from "./terminal.js";

export interface ExperimentArguments extends ModelArguments {
  preset?: "paper";
  case: `${RadiologyCase}`;
  arms: Arm[];
  batch?: number;
  maxTokens?: number;
  promptLength?: number;
  limit?: number;
  rounds: number;
  seed: number;
  findings?: string;
  impressions?: string;
  trainFindings?: string;
  trainImpressions?: string;
  out: string;
}

/** What is run without options, and with `--preset paper`. */
const presets = {
  default: { batch: 20, maxTokens: 64, promptLength: undefined, limit: 100 },
  paper: { batch: 20, maxTokens: 12, promptLength: 1024, limit: 20 },
} as const;

export function addExperiment(program: Command, run: Runner): void {
  const group = program.command("experiment").description("Experiments under several schedules of one loaded model.");
  const command = group
    .command("radiology")
    .description("Summarise radiology reports under several schedules: times of every phase, and proof that all give the same tokens.");
  addModelOptions(command)
    .addOption(new Option("--preset <name>", "paper: batch 20, prompts filled with examples to 1024 tokens, 12 new tokens").choices(["paper"]))
    .addOption(
      new Option("--case <n>", "prompt: 0 plain; 1, 2, 4 so many examples; 5 with an instruction")
        .choices(radiologyCases.map(String))
        .default("0"),
    )
    .addOption(
      new Option("--arms <list>", "schedules to compare; ratios are to sequential, without it to the first one")
        .argParser(wordsOf(arms))
        .default([...arms], arms.join(",")),
    )
    .option("--batch <n>", "requests in flight (default: 20)", integerFrom(1))
    .option("--max-tokens <n>", "tokens to generate at most (default: 64; paper: 12)", integerFrom(1))
    .option("--prompt-length <n>", "fill prompts with in-context examples up to so many tokens, never over (default: natural lengths; paper: 1024)", integerFrom(1))
    .option("--limit <n>", "reports to run, from the first on; 0 = all (default: 100; paper: 20)", integerFrom(0))
    .option("--rounds <n>", "rounds that are counted, after a warm-up", integerFrom(1), 3)
    .option("--seed <n>", "of the choice of examples", integerFrom(0), 0)
    .option("--findings <file>", "your own reports: findings, one a line (default: the bundled test split)")
    .option("--impressions <file>", "your own reports: impressions, one a line")
    .option("--train-findings <file>", "findings that examples are drawn from (default: the bundled train split)")
    .option("--train-impressions <file>", "impressions that examples are drawn from")
    .option("--out <dir>", "folder for csv, json and timeline files", "radiology-run")
    .action(run(async (given: ExperimentArguments, { signal }) => {
      const plan = makePlan(command, given);
      const out = await makeFolder(given.out);
      return runExperiment(plan, given, signal, async (result) => {
        const files = await writeExperiment(result, out);
        if (given.json === true) printJson({ ...result.summary, out, files });
        else printExperiment(result.summary, out, files);
        return result.summary.identicalTokens ? exitCodes.done : exitCodes.failed;
      });
    }));
}

function makePlan(command: Command, given: ExperimentArguments): ExperimentPlan {
  const preset = presets[given.preset ?? "default"];
  const radiologyCase = radiologyCases.find((which) => String(which) === given.case) ?? 0;
  const promptLength = given.promptLength ?? preset.promptLength;
  const tests = { findings: given.findings, impressions: given.impressions };
  const train = { findings: given.trainFindings, impressions: given.trainImpressions };
  for (const [prefix, { findings, impressions }] of [["", tests], ["train-", train]] as const) {
    if ((findings === undefined) !== (impressions === undefined)) {
      const missing = findings === undefined ? "findings" : "impressions";
      command.error(`error: --${prefix}${missing} is missing: --${prefix}findings and --${prefix}impressions belong together`);
    }
  }
  const needsExamples = promptLength !== undefined || [1, 2, 4].includes(radiologyCase);
  if (needsExamples && given.findings !== undefined && given.trainFindings === undefined) {
    command.error("error: prompts with examples of your own reports need --train-findings and --train-impressions");
  }
  return {
    case: radiologyCase,
    arms: given.arms,
    batch: given.batch ?? preset.batch,
    maxTokens: given.maxTokens ?? preset.maxTokens,
    promptLength,
    limit: given.limit ?? preset.limit,
    rounds: given.rounds,
    seed: given.seed,
    test: dataFiles("test", tests),
    train: needsExamples ? dataFiles("train", train) : null,
  };
}
