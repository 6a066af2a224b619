// Runs the same prompts under several schedules of one loaded model, so that the schedules can be compared fairly: rounds are interleaved
// and the order of the arms turns from round to round, a warm-up is not counted, and all arms go by the engine's own clock.

import type { Completion, ConfigureOptions, GenerateOptions, ScheduleOption, TokenIds } from "../types.js";

export type Arm = Exclude<ScheduleOption, "auto">;

export const arms = ["sequential", "chunked", "split"] as const satisfies readonly Arm[];

/** What of a model is needed here. */
export interface ArmModel {
  configure(options: ConfigureOptions): Promise<void>;
  generate(prompt: TokenIds, options?: GenerateOptions): Promise<Completion>;
}

export interface ArmPrompt {
  /** The caller's number of the prompt. */
  report: number;
  tokenIds: number[];
}

/** One arm in one round. */
export interface ArmRun {
  arm: Arm;
  /** From 1. */
  round: number;
  /** From the submission of the first request to the end of the last. */
  wallMs: number;
  /** In the order of the prompts. */
  completions: Completion[];
}

export interface ArmOptions {
  model: ArmModel;
  arms: readonly Arm[];
  prompts: readonly ArmPrompt[];
  /** Requests in flight: a batch is submitted at once, the next when all of it have ended, as the paper does. */
  batch: number;
  rounds: number;
  /** Of every request: maxTokens, signal, ... */
  generate: GenerateOptions;
  /** Called for every request that ends, those of the warm-up included. */
  onRequest?: ((at: { arm: Arm; round: number | "warm-up" }) => void) | undefined;
}

/** Requests that `runArms` will run, for a progress bar. */
export function countRequests(options: Pick<ArmOptions, "arms" | "prompts" | "batch" | "rounds">): number {
  const warmUp = Math.min(options.batch, options.prompts.length);
  return options.arms.length * (warmUp + options.rounds * options.prompts.length);
}

/** Arms in their order of running within each round. Rejects with what a request rejects with. */
export async function runArms(options: ArmOptions): Promise<ArmRun[]> {
  const runs: ArmRun[] = [];
  for (const arm of options.arms) {
    await options.model.configure({ schedule: arm });
    await runBatch(options, options.prompts.slice(0, options.batch), arm, "warm-up");
  }
  for (let round = 1; round <= options.rounds; round++) {
    for (const arm of rotated(options.arms, round - 1)) {
      await options.model.configure({ schedule: arm });
      const completions: Completion[] = [];
      const start = performance.now();
      for (let at = 0; at < options.prompts.length; at += options.batch) {
        completions.push(...(await runBatch(options, options.prompts.slice(at, at + options.batch), arm, round)));
      }
      runs.push({ arm, round, wallMs: performance.now() - start, completions });
    }
  }
  return runs;
}

async function runBatch(options: ArmOptions, prompts: readonly ArmPrompt[], arm: Arm, round: number | "warm-up"): Promise<Completion[]> {
  const { model, generate, onRequest } = options;
  return Promise.all(
    prompts.map(async ({ tokenIds }) => {
      const completion = await model.generate(tokenIds, generate);
      onRequest?.({ arm, round });
      return completion;
    }),
  );
}

function rotated<T>(values: readonly T[], by: number): T[] {
  const at = by % Math.max(values.length, 1);
  return [...values.slice(at), ...values.slice(0, at)];
}

export interface TokenDifference {
  arm: Arm;
  round: number;
  report: number;
  /** Position of the first token that differs from the first run's. */
  position: number;
}

/** Compares every run's tokens with the first run's; null: all identical. */
export function findDifference(runs: readonly ArmRun[], prompts: readonly ArmPrompt[]): TokenDifference | null {
  const first = runs[0];
  for (const { arm, round, completions } of runs) {
    for (const [i, { report }] of prompts.entries()) {
      const wanted = first?.completions[i]?.tokenIds ?? [];
      const got = completions[i]?.tokenIds ?? [];
      for (let position = 0; position < Math.max(wanted.length, got.length); position++) {
        if (wanted[position] !== got[position]) return { arm, round, report, position };
      }
    }
  }
  return null;
}
