// Options that commands share, and the parsers of their values. What a parser refuses is wrong usage: exit code 2.

import { InvalidArgumentError, Option, type Command } from "commander";
import type { DeviceOption, LoadOptions, ScheduleOption, StorageOption } from "../types.js";

const devicePattern = /^(?:auto|cpu|cuda(?::\d+)?|virtual(?::.+)?)$/;

function isDevice(text: string): text is DeviceOption {
  return devicePattern.test(text);
}

export function parseDevice(text: string): DeviceOption {
  if (!isDevice(text)) throw new InvalidArgumentError('Expected "auto", "cpu", "cuda" or "cuda:1".');
  return text;
}

/** A parser of integers from `min` on. */
export function integerFrom(min: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^[+-]?\d+$/.test(text) || !Number.isSafeInteger(value) || value < min) {
      throw new InvalidArgumentError(`Expected an integer of at least ${min}.`);
    }
    return value;
  };
}

/** A parser of finite numbers from `min` on. */
export function numberFrom(min: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === "" || !Number.isFinite(value) || value < min) {
      throw new InvalidArgumentError(`Expected a number of at least ${min}.`);
    }
    return value;
  };
}

export function parseIds(text: string): number[] {
  const parts = text.trim().split(/\s*,\s*|\s+/);
  return parts.map(integerFrom(0));
}

/** A parser of comma-separated words of a list, none twice. */
export function wordsOf<const Word extends string>(known: readonly Word[]): (text: string) => Word[] {
  return (text) => {
    const words = text.split(",").map((word) => {
      const found = known.find((candidate) => candidate === word.trim());
      if (found === undefined) throw new InvalidArgumentError(`Expected a list of ${known.join(",")}.`);
      return found;
    });
    if (new Set(words).size !== words.length) throw new InvalidArgumentError("Expected no word twice.");
    return words;
  };
}

export function collect(text: string, previous: string[] | undefined): string[] {
  return [...(previous ?? []), text];
}

export const schedules = ["sequential", "chunked", "split", "auto"] as const satisfies readonly ScheduleOption[];

/** What every command that loads a model takes. */
export interface ModelArguments {
  model: string;
  device: DeviceOption;
  dtype: StorageOption;
  threads?: number;
  json?: boolean;
}

/** `json: false` for a command that talks with its user. */
export function addModelOptions(command: Command, { json = true } = {}): Command {
  command
    .option("--model <dir>", 'folder of a model, or "radiology": the bundled one', "radiology")
    .option("--device <device>", '"auto", "cpu", "cuda" or "cuda:1"', parseDevice, "auto")
    .addOption(new Option("--dtype <type>", "type in which weights are kept").choices(["auto", "f32", "f16", "bf16"]).default("auto"))
    .option("--threads <n>", "threads that compute (default: physical cores that may be used)", integerFrom(1));
  return json ? command.option("--json", "print one JSON document on stdout and nothing else") : command;
}

export function scheduleOption(): Option {
  return new Option("--schedule <schedule>", "how prompts and generation share the device").choices(schedules).default("auto");
}

export function loadOptions(given: ModelArguments): LoadOptions {
  const { device, dtype, threads } = given;
  return { device, dtype, ...(threads === undefined ? {} : { threads }) };
}
