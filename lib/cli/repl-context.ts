// What a REPL session has in scope. Results are plain values that print themselves as tables.

import { inspect } from "node:util";
import { devices, type Model } from "../index.js";
import type { Completion, DeviceInfo, GenerateOptions, Prompt, TimelineOptions } from "../types.js";
import { arms as allArms, findDifference, runArms, type Arm } from "../workload/arms.js";
import { summarizeArm, type ArmSummary } from "../workload/summary.js";
import { armTable } from "./experiment-report.js";
import { timingText } from "./generate.js";
import { bytesText, listText, numberText, tableText, type Colors } from "./terminal.js";

export interface CompareOptions extends GenerateOptions {
  /** Default: all three. */
  schedules?: readonly Arm[];
}

export interface Comparison {
  schedules: ArmSummary[];
  /** Over all schedules. */
  identicalTokens: boolean;
  /** Of the first schedule, in the order of the prompts. */
  completions: Completion[];
}

/** Makes a value print itself with `render` in the REPL; its fields stay as they are. */
function printedAs<T extends object>(value: T, render: (value: T) => string): T {
  return Object.defineProperty(value, inspect.custom, { value: () => render(value), enumerable: false });
}

export function replContext(model: Model, colors: Colors): Record<string, unknown> {
  const printCompletion = ({ text, tokenIds, ...rest }: Completion): string => {
    const output = text === "" ? tokenIds.join(",") : text;
    return `${colors.green(output)}\n${colors.dim(timingText({ text, tokenIds, ...rest }))}`;
  };
  return {
    model,
    generate: async (prompt: Prompt | readonly Prompt[], options?: GenerateOptions) => {
      const result: unknown = await model.generate(prompt as Prompt, options);
      if (Array.isArray(result)) return (result as Completion[]).map((completion) => printedAs(completion, printCompletion));
      return printedAs(result as Completion, printCompletion);
    },
    stream: (prompt: Prompt, options?: GenerateOptions) => model.stream(prompt, options),
    compare: async (prompts: string | readonly Prompt[], options?: CompareOptions) =>
      printedAs(await compare(model, typeof prompts === "string" ? [prompts] : prompts, options ?? {}), (comparison) =>
        comparisonText(comparison, colors),
      ),
    timeline: (options: TimelineOptions = {}) => printedAs(model.timeline({ steps: 20, ...options }), (events) => timelineText(events, colors)),
    devices: () => printedAs(devices(), (list) => devicesText(list, colors)),
    stats: () => printedAs(model.stats(), (stats) => statsText(stats, model, colors)),
  };
}

/** The same prompts under several schedules, all at once under each; the model's own schedule is restored. Drawn tokens need a seed: 0. */
async function compare(model: Model, prompts: readonly Prompt[], { schedules = allArms, ...options }: CompareOptions): Promise<Comparison> {
  const tokenIds = await Promise.all(
    prompts.map(async (prompt) => (typeof prompt === "string" ? model.tokenizer.encode(prompt) : Array.from(prompt))),
  );
  const numbered = tokenIds.map((ids, report) => ({ report, tokenIds: ids }));
  const before = model.stats().schedule.asked;
  try {
    const runs = await runArms({
      model,
      arms: schedules,
      prompts: numbered,
      batch: Math.max(numbered.length, 1),
      rounds: 1,
      generate: { seed: 0, ...options },
    });
    const base = schedules.includes("sequential") ? "sequential" : (schedules[0] ?? "sequential");
    return {
      schedules: schedules.map((arm) => summarizeArm(runs, arm, base)),
      identicalTokens: findDifference(runs, numbered) === null,
      completions: runs[0]?.completions ?? [],
    };
  } finally {
    await model.configure({ schedule: before });
  }
}

function comparisonText({ schedules, identicalTokens }: Comparison, colors: Colors): string {
  const base = schedules.find(({ schedule }) => schedule === "sequential")?.schedule ?? schedules[0]?.schedule ?? "";
  const { columns, rows } = armTable(schedules, base);
  return `${tableText(columns, rows, colors)}\nidentical tokens: ${identicalTokens ? colors.green("yes") : colors.red("no")}`;
}

function timelineText(events: ReturnType<Model["timeline"]>, colors: Colors): string {
  return tableText(
    [{ head: "lane", align: "left" }, { head: "phase", align: "left" }, { head: "start ms" }, { head: "length ms" }, { head: "requests" }, { head: "tokens" }],
    events.map(({ lane, phase, startMs, endMs, requests, tokens }) => [
      lane === "prefill" ? colors.yellow(lane) : colors.cyan(lane),
      phase,
      startMs.toFixed(3),
      (endMs - startMs).toFixed(3),
      requests.length > 6 ? `${requests.slice(0, 6).join(",")}, ${requests.length - 6} more` : requests.join(","),
      String(tokens),
    ]),
    colors,
  );
}

function devicesText(list: ReturnType<typeof devices>, colors: Colors): string {
  return tableText(
    [{ head: "device", align: "left" }, { head: "there", align: "left" }, { head: "what", align: "left" }],
    list.map((device) =>
      device.available
        ? [device.id, colors.green("yes"), `${device.name}, ${computeText(device)}, ${bytesText(device.memoryBytes)}`]
        : [device.id, colors.red("no"), device.reason],
    ),
    colors,
  );
}

function computeText(device: Extract<DeviceInfo, { available: true }>): string {
  return device.id === "cpu" ? `${device.cores} cores, ${device.isa}` : `${device.sms} SMs, ${device.arch}, driver ${device.driver}`;
}

function statsText(stats: ReturnType<Model["stats"]>, model: Model, colors: Colors): string {
  const lane = ({ busyMs, steps }: { busyMs: number; steps: number }): string => `${numberText(busyMs)} ms busy in ${steps} steps`;
  const { pages, schedule, lanes } = stats;
  return listText(
    [
      ["device", `${model.device.id}, partition ${model.device.partition}`],
      ["schedule", `${schedule.used}: ${schedule.why}`],
      ["requests", `${stats.running} running, ${stats.waiting} waiting, ${stats.held} held`],
      ["pages", `${pages.used} used, ${pages.cached} cached, ${pages.free} free of ${pages.total}`],
      ["tokens", `${stats.promptTokens} of prompts, ${stats.generatedTokens} generated, ${stats.preemptions} preemptions`],
      ["prefill lane", lane(lanes.prefill)],
      ["decode lane", lane(lanes.decode)],
    ],
    colors,
  );
}
