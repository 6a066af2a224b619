// splitwiser generate: one prompt, its output on stdout as it comes.

import { text } from "node:stream/consumers";
import type { Command } from "commander";
import type { Completion, GenerateOptions, Prompt, ScheduleOption } from "../types.js";
import type { Model } from "../index.js";
import { readText } from "../workload/reports.js";
import { addModelOptions, collect, integerFrom, numberFrom, parseIds, scheduleOption, type ModelArguments } from "./arguments.js";
import type { Runner } from "./runner.js";
import { withModel } from "./open.js";
import { colorsOf, isTerminal, numberText, printJson, printLine } from "./terminal.js";

interface GenerateArguments extends ModelArguments {
  prompt?: string;
  ids?: number[];
  file?: string;
  maxTokens?: number;
  temperature?: number;
  topK?: number;
  topP?: number;
  seed?: number;
  stop?: string[];
  ignoreEos?: boolean;
  schedule: ScheduleOption;
}

export function addGenerate(program: Command, run: Runner): void {
  const command = program.command("generate").description("Generate from one prompt and print the output as it comes.");
  addModelOptions(command)
    .option("--prompt <text>", "the prompt")
    .option("--ids <1,2,3>", "the prompt as token ids, used as they are", parseIds)
    .option("--file <file>", 'read the prompt from a file, "-" for stdin; one line break at its end is dropped')
    .option("--max-tokens <n>", "tokens to generate at most (default: 128)", integerFrom(1))
    .option("--temperature <t>", "0 takes the most probable token (default: 0)", numberFrom(0))
    .option("--top-k <k>", "draw from the k most probable tokens (default: off)", integerFrom(0))
    .option("--top-p <p>", "draw from the tokens that make up this probability (default: 1)", numberFrom(0))
    .option("--seed <n>", "of the random draws (default: drawn)", integerFrom(0))
    .option("--stop <text>", "end the output at this text; may be given several times", collect)
    .option("--ignore-eos", "go on after the model's end token")
    .addOption(scheduleOption())
    .action(run(async (given: GenerateArguments, { signal }) => {
      const sources = [given.prompt, given.ids, given.file].filter((source) => source !== undefined);
      if (sources.length !== 1) {
        command.error(`error: expected exactly one of --prompt, --ids and --file, got ${sources.length === 0 ? "none" : sources.length}`);
      }
      const prompt = given.prompt ?? given.ids ?? (await readPrompt(given.file ?? "-"));
      await withModel({ given, options: { schedule: given.schedule }, signal }, async (model) => {
        const options = generateOptions(given, signal);
        if (given.json === true) {
          const completion = await model.generate(prompt, options);
          printJson({ model: given.model, device: model.device.id, schedule: model.stats().schedule.used, ...completion });
        } else {
          await printStream(model, prompt, options);
        }
      });
    }));
}

async function readPrompt(file: string): Promise<string> {
  const content = file === "-" ? await text(process.stdin) : await readText(file, "a prompt");
  return content.replace(/\r?\n$/, "");
}

function generateOptions(given: GenerateArguments, signal: AbortSignal): GenerateOptions {
  const { maxTokens, temperature, topK, topP, seed, stop, ignoreEos } = given;
  const chosen = { maxTokens, temperature, topK, topP, seed, stop, ignoreEos };
  return { ...Object.fromEntries(Object.entries(chosen).filter(([, value]) => value !== undefined)), signal };
}

async function printStream(model: Model, prompt: Prompt, options: GenerateOptions): Promise<void> {
  const stream = model.stream(prompt, options);
  let printed = false;
  for await (const delta of stream) {
    process.stdout.write(delta.text);
    printed ||= delta.text !== "";
  }
  const completion = await stream.result;
  // A model without tokenizer has no text: its tokens are the output.
  printLine(printed ? "" : completion.tokenIds.join(","));
  if (isTerminal(process.stderr)) process.stderr.write(`${colorsOf(process.stderr).dim(timingText(completion))}\n`);
}

/** One line on where the time went. */
export function timingText({ promptTokens, tokenIds, finishReason, timing }: Completion): string {
  const perToken = timing.tpotMs === null ? "" : `, ${numberText(timing.tpotMs)} ms a token`;
  return (
    `${promptTokens} prompt tokens, first token after ${numberText(timing.ttftMs)} ms, ` +
    `${tokenIds.length} tokens (${finishReason})${perToken}, ${numberText(timing.e2eMs)} ms in all`
  );
}
