// Goldens: what Hugging Face transformers computed in float64. Their form is described in test/fixtures/families/README.md.

import { readFileSync } from "node:fs";
import { join } from "node:path";

import { readSafetensors } from "../reference/safetensors.js";

import { bundledModel, families, type Family } from "./paths.js";

export interface GoldenCase {
  name: string;
  promptIds: number[];
  greedyIds: number[];
  /** Best minus second-best logit of each greedy step. */
  stepMargins: number[];
  /** First prompt position that `logits` covers. */
  logitsFrom: number;
  /** [promptIds.length - logitsFrom, vocab] */
  logits: Float64Array;
  /** [greedyIds.length, vocab] */
  stepLogits: Float64Array;
}

export interface Golden {
  family: Family;
  folder: string;
  vocab: number;
  cases: GoldenCase[];
}

export function loadGolden(family: Family): Golden {
  const folder = families[family];
  const json = JSON.parse(readFileSync(join(folder, "golden.json"), "utf8")) as {
    cases: (Omit<GoldenCase, "logits" | "stepLogits"> & { logits: string; stepLogits: string })[];
  };
  const tensors = readSafetensors(join(folder, "golden.safetensors"));
  const config = JSON.parse(readFileSync(join(folder, "config.json"), "utf8")) as { vocab_size: number };
  const tensor = (name: string): Float64Array => {
    const found = tensors.get(name);
    if (found === undefined) throw new Error(`golden.safetensors of ${family} has no ${name}`);
    return found.values;
  };
  const cases = json.cases.map((entry) => ({
    ...entry,
    logits: tensor(entry.logits),
    stepLogits: tensor(entry.stepLogits),
  }));
  return { family, folder, vocab: config.vocab_size, cases };
}

export interface BundledCase {
  name: string;
  prompt: string;
  promptIds: number[];
  /** Ends with the end-of-sequence id where finishReason is "stop". */
  greedyIds: number[];
  greedyText: string;
  finishReason: "stop" | "length";
  minTop2Margin: number;
}

/** Greedy outputs of the bundled model, made with `maxNewTokens`. */
export function loadBundledGolden(): { maxNewTokens: number; eosTokenId: number; cases: BundledCase[] } {
  return JSON.parse(readFileSync(join(bundledModel, "golden.json"), "utf8")) as ReturnType<typeof loadBundledGolden>;
}
