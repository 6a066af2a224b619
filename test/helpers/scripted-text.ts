// Models that write a given text with the bundled model's tokenizer.

import type { Test } from "tap";

import type { Model } from "../../dist/index.js";

import { inTurn, load } from "./engine.js";
import { bundledModel } from "./paths.js";
import { scriptedModel } from "./synthetic.js";

const bundledVocab = 4096;

export interface Written {
  model: Model;
  /** Prompt after which script k is written. */
  prompts: number[][];
  /** Tokens of script k. */
  scripts: number[][];
}

/** A loaded model that writes the given token lists. */
export async function writesTokens(t: Test, scripts: number[][]): Promise<Written> {
  const { folder, prompts } = scriptedModel(t, { scripts, vocab: bundledVocab, tokenizerFrom: bundledModel });
  return { model: await load(t, folder), prompts, scripts };
}

/** A loaded model that writes the given texts, tokenised by the bundled tokenizer. */
export async function writesTexts(t: Test, texts: string[]): Promise<Written> {
  const { tokenizer } = await load(t, bundledModel);
  const scripts = await inTurn(texts, async (text) => [...(await tokenizer.encode(text, { addSpecialTokens: false }))]);
  return writesTokens(t, scripts);
}
