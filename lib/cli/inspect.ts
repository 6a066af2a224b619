// splitwiser inspect: what a model is and what it will take, before anything is loaded.

import type { Command } from "commander";
import { inspectModel } from "../index.js";
import type { ModelReport, ScheduleOption } from "../types.js";
import { addModelOptions, integerFrom, loadOptions, scheduleOption, type ModelArguments } from "./arguments.js";
import type { Runner } from "./runner.js";
import { bytesText, colorsOf, listText, printJson, printLine, type Colors } from "./terminal.js";

interface InspectArguments extends ModelArguments {
  schedule: ScheduleOption;
  maxSequences?: number;
  maxModelLen?: number;
}

export function addInspect(program: Command, run: Runner): void {
  const command = program.command("inspect").description("Print the model, the device and the memory plan; nothing is loaded.");
  addModelOptions(command)
    .option("--max-sequences <n>", "requests decoded together (default: 64)", integerFrom(1))
    .option("--max-model-len <n>", "tokens that one sequence can hold (default: what model and cache allow)", integerFrom(1))
    .addOption(scheduleOption())
    .action(run(async (given: InspectArguments) => {
      const { schedule, maxSequences, maxModelLen } = given;
      const report = await inspectModel(given.model, {
        ...loadOptions(given),
        schedule,
        ...(maxSequences === undefined ? {} : { maxSequences }),
        ...(maxModelLen === undefined ? {} : { maxModelLen }),
      });
      if (given.json === true) printJson(report);
      else printLine(reportText(report, colorsOf(process.stdout)));
    }));
}

function reportText({ source, config, storedDtype, files, tokenizer, device, schedule, memory }: ModelReport, colors: Colors): string {
  const section = (title: string, pairs: [string, string][]): string => `${colors.bold(title)}\n${listText(pairs, colors)}`;
  const fileBytes = files.reduce((sum, file) => sum + file.bytes, 0);
  const heads = config.kvHeads === config.heads ? `${config.heads} heads` : `${config.heads} heads (${config.kvHeads} of keys and values)`;
  return [
    section("Model", [
      ["source", source],
      ["family", `${config.family}, ${config.parameters.toLocaleString("en-US")} parameters`],
      ["shape", `${config.layers} layers, hidden ${config.hidden}, ${heads} of ${config.headDim}, FFN ${config.ffn}, vocabulary ${config.vocab}`],
      ["files", `${files.map(({ name }) => name).join(", ")} (${bytesText(fileBytes)})`],
      ["weights", storedDtype === config.dtype ? storedDtype : `${storedDtype} in the files, kept as ${config.dtype}`],
      ["tokenizer", tokenizer ? "tokenizer.json" : "none: token ids only"],
    ]),
    section("Device", [
      ["device", `${device.id}: ${device.name}`],
      ["compute", device.sms === undefined ? `${device.threads} of ${device.cores} cores, ${device.isa}` : `${device.sms} SMs, ${device.isa}`],
      ["why", device.why],
      ["schedule", `${schedule.used}: ${schedule.why}`],
    ]),
    section("Memory", [
      ["weights", bytesText(memory.weightBytes)],
      ["KV cache", `${bytesText(memory.kvBytes)}: ${memory.pages} pages of ${memory.pageSize} tokens (${bytesText(memory.pageBytes)} each, ${config.kvCacheType})`],
      ["activations", bytesText(memory.activationBytes)],
      ["total", `${bytesText(memory.totalBytes)} of ${bytesText(memory.availableBytes)} that this process may still use`],
      ["sequences", `up to ${memory.maxModelLen} tokens each; the cache holds ${memory.fullSequences} such at once`],
    ]),
  ].join("\n\n");
}
