// Data, prompts and runs of the radiology experiment, and the figures made of them.

import { join } from "node:path";
import { packageRoot } from "../addon.js";
import { SplitwiserError } from "../errors.js";
import type { Model } from "../index.js";
import { corpusBleu, type Bleu } from "../metrics/bleu.js";
import { meanRouge, type Rouge } from "../metrics/rouge.js";
import { countRequests, findDifference, runArms, type Arm, type ArmRun, type TokenDifference } from "../workload/arms.js";
import { oneLine, radiologyPrompts, type RadiologyCase, type RadiologyPrompt } from "../workload/radiology.js";
import { readReports, type Report } from "../workload/reports.js";
import { mean } from "../workload/statistics.js";
import { summarizeArm, type ArmSummary } from "../workload/summary.js";
import type { ModelArguments } from "./arguments.js";
import { withModel } from "./open.js";
import { createProgress } from "./progress.js";

interface DataFiles {
  findings: string;
  impressions: string;
}

/** The bundled files of a split unless both are given. */
export function dataFiles(split: "test" | "train", given: Partial<Record<keyof DataFiles, string | undefined>>): DataFiles {
  const folder = join(packageRoot, "models", "radiology-data");
  return {
    findings: given.findings ?? join(folder, `${split}.findings.tok`),
    impressions: given.impressions ?? join(folder, `${split}.impression.tok`),
  };
}

export interface ExperimentPlan {
  case: RadiologyCase;
  arms: Arm[];
  batch: number;
  maxTokens: number;
  /** Undefined: natural lengths. */
  promptLength: number | undefined;
  /** Reports to run; 0: all. */
  limit: number;
  rounds: number;
  seed: number;
  test: DataFiles;
  /** Null: no examples are needed. */
  train: DataFiles | null;
}

export interface ExperimentSummary {
  model: string;
  device: { id: string; name: string; isa: string };
  case: RadiologyCase;
  arms: ArmSummary[];
  /** The arm that ratios are taken to. */
  base: Arm;
  batch: number;
  rounds: number;
  seed: number;
  maxTokens: number;
  promptLength: number | null;
  reports: number;
  /** Reports whose prompt was too long. */
  dropped: number;
  meanPromptTokens: number | null;
  meanOutputTokens: number | null;
  /** Share of outputs that maxTokens cut, 0..1. */
  cutShare: number | null;
  /** Computed over all arms and rounds. */
  identicalTokens: boolean;
  firstDifference: TokenDifference | null;
  /** Means over the outputs of the first arm's first round. */
  rouge: Rouge;
  bleu: Bleu;
}

export interface ExperimentResult {
  summary: ExperimentSummary;
  /** One line a report, in the order of the file. */
  findings: string[];
  references: string[];
  generated: string[];
  runs: ArmRun[];
  prompts: RadiologyPrompt[];
  /** Writes the Chrome trace of the last steps; works while the model is loaded. */
  saveTimeline: (path: string) => Promise<void>;
}

/** Uses `use` on the result while the model is still loaded, so that its timeline can be saved. */
export async function runExperiment<T>(
  plan: ExperimentPlan,
  given: ModelArguments,
  signal: AbortSignal,
  use: (result: ExperimentResult) => Promise<T>,
): Promise<T> {
  const all = await readReports(plan.test);
  const train = plan.train === null ? [] : await readReports(plan.train);
  const reports = plan.limit === 0 ? all : all.slice(0, plan.limit);
  return withModel({ given, signal }, async (model) => {
    const { prompts, dropped } = await makePrompts({ plan, model, reports, train, signal });
    const runs = await runWithProgress(plan, model, prompts, signal);
    const outputs = runs[0]?.completions ?? [];
    const references = prompts.map(({ report }) => reports[report]?.impression ?? "");
    const generated = outputs.map(({ text }) => text.trim().replace(/\s+/g, " "));
    const pairs = generated.map((candidate, i) => ({ reference: references[i] ?? "", candidate }));
    const difference = findDifference(runs, prompts);
    const base = plan.arms.includes("sequential") ? "sequential" : (plan.arms[0] ?? "sequential");
    const summary: ExperimentSummary = {
      model: given.model,
      device: { id: model.device.id, name: model.device.name, isa: model.device.isa },
      case: plan.case,
      arms: plan.arms.map((arm) => summarizeArm(runs, arm, base)),
      base,
      batch: plan.batch,
      rounds: plan.rounds,
      seed: plan.seed,
      maxTokens: plan.maxTokens,
      promptLength: plan.promptLength ?? null,
      reports: prompts.length,
      dropped: dropped.length,
      meanPromptTokens: mean(prompts.map(({ tokenIds }) => tokenIds.length)),
      meanOutputTokens: mean(outputs.map(({ tokenIds }) => tokenIds.length)),
      cutShare: mean(outputs.map(({ finishReason }) => (finishReason === "length" ? 1 : 0))),
      identicalTokens: difference === null,
      firstDifference: difference,
      rouge: meanRouge(pairs),
      bleu: corpusBleu(pairs),
    };
    const findings = prompts.map(({ report }) => oneLine(reports[report]?.findings ?? ""));
    return use({ summary, findings, references, generated, runs, prompts, saveTimeline: (path) => model.saveTimeline(path) });
  });
}

interface PromptSource {
  plan: ExperimentPlan;
  model: Model;
  reports: Report[];
  train: Report[];
  signal: AbortSignal;
}

async function makePrompts({ plan, model, reports, train, signal }: PromptSource): ReturnType<typeof radiologyPrompts> {
  const longest = model.config.maxModelLen - plan.maxTokens;
  if (longest < 1 || (plan.promptLength !== undefined && plan.promptLength > longest)) {
    throw new SplitwiserError(
      "PROMPT_TOO_LONG",
      `expected a prompt and its output within ${model.config.maxModelLen} tokens, got --prompt-length ${plan.promptLength ?? 1} and --max-tokens ${plan.maxTokens}: lower one of them`,
    );
  }
  const made = await radiologyPrompts({
    reports,
    train,
    case: plan.case,
    seed: plan.seed,
    promptLength: plan.promptLength,
    maxPromptTokens: longest,
    encode: (text, options) => model.tokenizer.encode(text, options),
    signal,
  });
  if (made.prompts.length === 0) {
    throw new SplitwiserError(
      "PROMPT_TOO_LONG",
      `expected prompts of at most ${plan.promptLength ?? longest} tokens, but all ${made.dropped.length} reports are longer: raise --prompt-length or take a case with fewer examples`,
    );
  }
  return made;
}

async function runWithProgress(plan: ExperimentPlan, model: Model, prompts: RadiologyPrompt[], signal: AbortSignal): Promise<ArmRun[]> {
  const progress = createProgress();
  const total = countRequests({ ...plan, prompts });
  let done = 0;
  try {
    return await runArms({
      model,
      prompts,
      arms: plan.arms,
      batch: plan.batch,
      rounds: plan.rounds,
      generate: { maxTokens: plan.maxTokens, signal },
      onRequest: ({ arm, round }) => {
        done += 1;
        progress.update(done, total, round === "warm-up" ? `${arm}, warm-up` : `${arm}, round ${round} of ${plan.rounds}`);
      },
    });
  } finally {
    progress.stop();
  }
}
