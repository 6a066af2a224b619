// Prompts of the paper's experiment (arXiv 2505.03763, github.com/asad-aali/splitwiser commit 548d255), word for word.

import { createRandom, shuffled } from "./random.js";
import type { Report } from "./reports.js";

/** 0: plain. 1, 2, 4: so many in-context examples. 5: an instruction before the plain prompt. 100 and 200 are training runs, which are no inference. */
export const radiologyCases = [0, 1, 2, 4, 5] as const;
export type RadiologyCase = (typeof radiologyCases)[number];

const instruction = "summarize the present illness history of the patient.";
/** The paper's runs drop prompts with examples that have so many words or more. */
const wordLimit = 1024;

const exampleCounts: Record<RadiologyCase, number> = { 0: 0, 1: 1, 2: 2, 4: 4, 5: 0 };

/** Lower case, every run of white space one blank. */
export function oneLine(text: string): string {
  return text
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== "")
    .join(" ");
}

/** The text of one prompt. `examples` in the order in which they are shown. */
export function radiologyPrompt(options: { case: RadiologyCase; findings: string; examples?: readonly Report[] }): string {
  const label = exampleCounts[options.case] > 0 ? "### summary:" : "### impressions:";
  const question = oneLine(`### findings: ${options.findings} ${label}`);
  const shown = (options.examples ?? []).map((example) => oneLine(`### findings: ${example.findings} ${label} ${example.impression}`));
  const body = shown.length > 0 ? `${shown.join("\n\n")}\n${question}` : question;
  return options.case === 5 ? `${instruction}\n${body}` : body;
}

export interface RadiologyPrompt {
  /** Line of the report in the findings file, from 0. */
  report: number;
  text: string;
  tokenIds: number[];
  /** Lines of the examples in the training files, from 0, in the order shown. */
  examples: number[];
}

export interface RadiologyPrompts {
  prompts: RadiologyPrompt[];
  /** Reports whose prompt was too long (the paper's 1024 words, `promptLength`, `maxPromptTokens`). */
  dropped: number[];
}

export interface RadiologyPromptOptions {
  reports: readonly Report[];
  /** Training reports that examples are drawn from. */
  train: readonly Report[];
  case: RadiologyCase;
  /** The same seed draws the same examples for a report, whatever other reports there are. */
  seed: number;
  /** Fill every prompt with examples up to so many tokens, never over; the case says the wording then. Default: natural lengths. */
  promptLength?: number | undefined;
  /** Longer prompts are dropped. Default: no limit. */
  maxPromptTokens?: number | undefined;
  /** The model's tokenizer. */
  encode: (text: string, options: { addSpecialTokens: boolean }) => Promise<ArrayLike<number>>;
  signal?: AbortSignal | undefined;
}

/** Prompts in the order of the reports. Rejects with the signal's reason when it fires. */
export async function radiologyPrompts(options: RadiologyPromptOptions): Promise<RadiologyPrompts> {
  const choose = options.promptLength === undefined ? chooseCount(options) : await chooseFill(options, options.promptLength);
  const result: RadiologyPrompts = { prompts: [], dropped: [] };
  for (const [report, { findings }] of options.reports.entries()) {
    options.signal?.throwIfAborted();
    const prompt = await choose(findings, createRandom(options.seed, report));
    if (prompt === null || prompt.tokenIds.length > (options.maxPromptTokens ?? Infinity)) result.dropped.push(report);
    else result.prompts.push({ report, ...prompt });
  }
  return result;
}

type Chosen = Omit<RadiologyPrompt, "report">;
type Choose = (findings: string, random: () => number) => Promise<Chosen | null>;

async function compose(options: RadiologyPromptOptions, findings: string, examples: number[]): Promise<Chosen> {
  const shown = examples.flatMap((line) => options.train[line] ?? []);
  const text = radiologyPrompt({ case: options.case, findings, examples: shown });
  return { text, tokenIds: Array.from(await options.encode(text, { addSpecialTokens: true })), examples };
}

/** Natural lengths: as many examples as the case has. */
function chooseCount(options: RadiologyPromptOptions): Choose {
  const wanted = exampleCounts[options.case];
  return async (findings, random) => {
    const examples = [...take(shuffled(options.train.length, random), wanted)];
    const prompt = await compose(options, findings, examples);
    const tooLong = wanted > 0 && prompt.text.trim().split(" ").length >= wordLimit;
    return tooLong ? null : prompt;
  };
}

/** Fills with examples in random order, but for the end, which is filled with those that fit best. */
async function chooseFill(options: RadiologyPromptOptions, promptLength: number): Promise<Choose> {
  const costs = await exampleCosts(options);
  return async (findings, random) => {
    let prompt = await compose(options, findings, []);
    let left = promptLength - prompt.tokenIds.length;
    if (left < 0) return null;
    const order = [...shuffled(options.train.length, random)];
    const cost = (line: number): number => costs[line] ?? Infinity;
    const examples: number[] = [];
    for (let next = order[0]; next !== undefined && cost(next) <= left; next = order[0]) {
      examples.push(next);
      left -= cost(next);
      order.shift();
    }
    // The last random one makes room for one that fits better.
    const last = examples.pop();
    if (last !== undefined) order.unshift(last);
    for (;;) {
      // Costs are measured apart, and tokens may join otherwise in the whole text, which alone is what counts.
      prompt = await compose(options, findings, [...examples]);
      left = promptLength - prompt.tokenIds.length;
      if (left < 0) {
        examples.pop();
        continue;
      }
      const fitting = order.filter((line) => cost(line) <= left);
      if (fitting.length === 0) return prompt;
      const best = fitting.reduce((most, line) => (cost(line) > cost(most) ? line : most));
      examples.push(best);
      order.splice(order.indexOf(best), 1);
    }
  };
}

/** Tokens that each example adds to a prompt that has one already, the blank line between them included. */
async function exampleCosts(options: RadiologyPromptOptions): Promise<number[]> {
  const shown = (...examples: Report[]): string => radiologyPrompt({ case: options.case, findings: "", examples });
  const first = options.train[0];
  if (first === undefined) return [];
  const alone = await tokens(options, shown(first));
  const costs: number[] = [];
  for (const example of options.train) {
    options.signal?.throwIfAborted();
    costs.push((await tokens(options, shown(first, example))) - alone);
  }
  return costs;
}

async function tokens(options: RadiologyPromptOptions, text: string): Promise<number> {
  return (await options.encode(text, { addSpecialTokens: false })).length;
}

function* take<T>(values: Iterable<T>, count: number): Generator<T, void, undefined> {
  if (count <= 0) return;
  let taken = 0;
  for (const value of values) {
    yield value;
    taken += 1;
    if (taken >= count) return;
  }
}
