// GenerateOptions checked once and turned into what native code takes.
import { randomInt } from "node:crypto";

import type { NativeGenerate, NativeRequest } from "./native.js";
import type { GenerateOptions, PrefillOptions, SequenceDecodeOptions } from "./types.js";
import {
  checkBoolean,
  checkFields,
  checkInteger,
  checkNumber,
  checkSignal,
  checkWord,
  invalidOption,
  optional,
  type Fields,
} from "./validate.js";

const int32Max = 2 ** 31 - 1;
const maxLogprobs = 1000;
const defaultMaxTokens = 128;
/** Seeds that are drawn stay short enough to be typed. */
const drawnSeeds = 2 ** 32;

const prefillNames = ["signal", "priority"] as const satisfies readonly (keyof PrefillOptions)[];
const decodeNames = [
  ...prefillNames,
  "maxTokens",
  "minTokens",
  "temperature",
  "topK",
  "topP",
  "minP",
  "repetitionPenalty",
  "presencePenalty",
  "frequencyPenalty",
  "logitBias",
  "stop",
  "stopTokenIds",
  "ignoreEos",
  "seed",
  "logprobs",
  "deadlineMs",
  "onAbort",
] as const satisfies readonly (keyof SequenceDecodeOptions)[];
const generateNames = [...decodeNames, "n", "promptLogprobs"] as const satisfies readonly (keyof GenerateOptions)[];

/** What the model says about the range of options. */
export interface ModelLimits {
  vocab: number;
  endTokenIds: readonly number[];
  /** Outputs of one prompt are decoded together. */
  maxSequences: number;
  /** Whether there is a tokenizer, and so text. */
  text: boolean;
}

/** Options of any request, checked. */
export interface RequestSettings {
  signal: AbortSignal | undefined;
  priority: number;
  deadlineMs: number;
  onAbort: "throw" | "return";
}

export interface GenerateSettings extends RequestSettings {
  generate: Omit<NativeGenerate, "seed">;
  /** undefined: to be drawn for each prompt. */
  seed: number | undefined;
  promptLogprobs: number;
}

export function checkPrefillOptions(options: unknown): RequestSettings {
  return requestSettings(checkFields("prefill options", options, prefillNames));
}

export function checkGenerateOptions(options: unknown, limits: ModelLimits): GenerateSettings {
  return generateSettings(checkFields("generate options", options, generateNames), limits);
}

export function checkDecodeOptions(options: unknown, limits: ModelLimits): GenerateSettings {
  if (typeof options === "object" && options !== null && "n" in options && options.n !== undefined && options.n !== 1) {
    throw invalidOption("n", "1 when a sequence decodes", options.n, "fork the sequence to continue it several times");
  }
  return generateSettings(checkFields("decode options", options, [...decodeNames, "n"]), limits);
}

export function drawSeed(): number {
  return randomInt(drawnSeeds);
}

function requestSettings(fields: Fields): RequestSettings {
  return {
    signal: optional(fields["signal"], (value) => checkSignal("signal", value)),
    priority: integer(fields, "priority", -int32Max, int32Max, 0),
    deadlineMs: optional(fields["deadlineMs"], (value) => checkNumber("deadlineMs", value, { above: 0 })) ?? 0,
    onAbort: optional(fields["onAbort"], (value) => checkWord("onAbort", value, ["throw", "return"])) ?? "throw",
  };
}

function generateSettings(fields: Fields, limits: ModelLimits): GenerateSettings {
  const maxTokens = integer(fields, "maxTokens", 1, int32Max, defaultMaxTokens);
  const logprobs = optional(fields["logprobs"], (value) => checkTop("logprobs", value));
  const promptLogprobs = optional(fields["promptLogprobs"], (value) => checkTop("promptLogprobs", value));
  const ignoreEos = optional(fields["ignoreEos"], (value) => checkBoolean("ignoreEos", value)) ?? false;
  return {
    ...requestSettings(fields),
    generate: {
      maxTokens,
      minTokens: integer(fields, "minTokens", 0, maxTokens, 0),
      temperature: number(fields, "temperature", { min: 0 }, 0),
      topK: integer(fields, "topK", 0, int32Max, 0),
      topP: number(fields, "topP", { above: 0, max: 1 }, 1),
      minP: number(fields, "minP", { min: 0, max: 1 }, 0),
      repetitionPenalty: number(fields, "repetitionPenalty", { above: 0 }, 1),
      presencePenalty: number(fields, "presencePenalty", {}, 0),
      frequencyPenalty: number(fields, "frequencyPenalty", {}, 0),
      ...checkLogitBias(fields["logitBias"], limits.vocab),
      stop: checkStop(fields["stop"], limits.text),
      stopTokenIds: checkStopTokenIds(fields["stopTokenIds"], limits.vocab),
      endTokenIds: Int32Array.from(ignoreEos ? [] : limits.endTokenIds),
      n: integer(fields, "n", 1, limits.maxSequences, 1),
      logprobs: Math.min(logprobs ?? -1, limits.vocab),
    },
    seed: optional(fields["seed"], (value) => checkInteger("seed", value, { min: 0, max: Number.MAX_SAFE_INTEGER })),
    promptLogprobs: Math.min(promptLogprobs ?? -1, limits.vocab),
  };
}

function integer(fields: Fields, name: string, min: number, max: number, fallback: number): number {
  return optional(fields[name], (value) => checkInteger(name, value, { min, max })) ?? fallback;
}

function number(fields: Fields, name: string, range: Parameters<typeof checkNumber>[2], fallback: number): number {
  return optional(fields[name], (value) => checkNumber(name, value, range)) ?? fallback;
}

function checkTop(name: string, value: unknown): number {
  return checkInteger(name, value, { min: 0, max: maxLogprobs });
}

function checkLogitBias(value: unknown, vocab: number): Pick<NativeGenerate, "biasTokens" | "biasValues"> {
  if (value === undefined) return { biasTokens: new Int32Array(0), biasValues: new Float32Array(0) };
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw invalidOption("logitBias", "an object or a Map of token id to number", value);
  }
  const entries: [unknown, unknown][] =
    value instanceof Map ? [...value] : Object.entries(value).map(([id, bias]) => [decimal(id), bias]);
  const tokens = new Int32Array(entries.length);
  const values = new Float32Array(entries.length);
  for (const [i, [id, bias]] of entries.entries()) {
    tokens[i] = checkTokenId("logitBias: the key", id, vocab);
    if (typeof bias !== "number" || Number.isNaN(bias) || bias === Infinity) {
      throw invalidOption(`logitBias[${String(id)}]`, "a finite number or -Infinity", bias);
    }
    values[i] = bias;
  }
  return { biasTokens: tokens, biasValues: values };
}

/** Keys of an object are strings; only plain decimal ones are ids. */
function decimal(key: string): number | string {
  return /^\d{1,10}$/.test(key) ? Number(key) : key;
}

function checkTokenId(name: string, id: unknown, vocab: number): number {
  if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id >= vocab) {
    throw invalidOption(name, `a token id from 0 to ${vocab - 1}`, id);
  }
  return id;
}

function checkStop(value: unknown, hasText: boolean): string[] {
  if (value === undefined) return [];
  const list: unknown = typeof value === "string" ? [value] : value;
  if (!Array.isArray(list)) throw invalidOption("stop", "a string or an array of strings", value);
  const texts = list.map((text: unknown, i) => {
    if (typeof text !== "string" || text === "") throw invalidOption(`stop[${i}]`, "a string that is not empty", text);
    return text;
  });
  if (texts.length > 0 && !hasText) {
    throw invalidOption("stop", "no stop text: the model's folder has no tokenizer.json", value, "use stopTokenIds, or add the file");
  }
  return texts;
}

function checkStopTokenIds(value: unknown, vocab: number): Int32Array {
  if (value === undefined) return new Int32Array(0);
  if (!Array.isArray(value)) throw invalidOption("stopTokenIds", "an array of token ids", value);
  return Int32Array.from(value, (id: unknown, i) => checkTokenId(`stopTokenIds[${i}]`, id, vocab));
}

/** A request that only appends tokens; the rest is filled in by who wants more. */
export function plainRequest(tokens: Int32Array, settings: RequestSettings): NativeRequest {
  return {
    sequence: 0,
    tokens,
    keep: false,
    generate: null,
    logits: false,
    lastLogits: false,
    promptLogprobs: -1,
    priority: settings.priority,
    deadlineMs: settings.deadlineMs,
  };
}

/** `room`: tokens that `maxModelLen` leaves after the prompt, at least 1. */
export function nativeGenerate(settings: GenerateSettings, seed: number, room: number): NativeGenerate {
  const { generate } = settings;
  const maxTokens = Math.min(generate.maxTokens, room);
  return { ...generate, maxTokens, minTokens: Math.min(generate.minTokens, maxTokens), seed: BigInt(seed) };
}
