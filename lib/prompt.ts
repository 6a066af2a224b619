// Prompts as users give them into token ids that native code takes.
import { SplitwiserError } from "./errors.js";
import type { LoadedTokenizer } from "./tokenizer/tokenizer.js";
import type { Prompt, TokenIds } from "./types.js";
import { describe, invalidOption } from "./validate.js";

const expected = "text or an array of token ids";

/** Reads prompts. Shape errors throw at once; texts are tokenized when the returned function is called. */
export class PromptReader {
  readonly #tokenizer: LoadedTokenizer;

  constructor(tokenizer: LoadedTokenizer) {
    this.#tokenizer = tokenizer;
  }

  reader(prompt: unknown, addSpecialTokens: boolean): () => Promise<TokenIds> {
    const checked = checkPrompt("prompt", prompt);
    if (typeof checked !== "string") return () => Promise.resolve(checked);
    return async () => (await this.#tokenizer.encodeAll([checked], addSpecialTokens))[0] ?? [];
  }

  /** All texts of a batch are tokenized in parallel, in one call. */
  batchReader(prompts: readonly unknown[]): () => Promise<TokenIds[]> {
    const checked = prompts.map((prompt, i) => checkPrompt(`prompts[${i}]`, prompt));
    const texts = checked.filter((prompt) => typeof prompt === "string");
    return async () => {
      const encoded = texts.length === 0 ? [] : await this.#tokenizer.encodeAll(texts, true);
      let next = 0;
      return checked.map((prompt) => (typeof prompt === "string" ? (encoded[next++] ?? []) : prompt));
    };
  }
}

/** A batch is an array that does not hold token ids; an empty array is an empty batch. */
export function isBatch(prompt: unknown): prompt is readonly unknown[] {
  return Array.isArray(prompt) && (prompt.length === 0 || typeof prompt[0] !== "number");
}

function checkPrompt(name: string, prompt: unknown): Prompt {
  if (typeof prompt === "string") {
    if (prompt === "") throw invalidOption(name, `${expected} that is not empty`, prompt, "to begin with nothing, pass the id of the begin token");
    return prompt;
  }
  if (!Array.isArray(prompt) && !(prompt instanceof Uint32Array)) throw invalidOption(name, expected, prompt);
  if (prompt.length === 0) throw invalidOption(name, `${expected} that is not empty`, prompt);
  // A copy: what the caller does with its array while the request waits changes nothing.
  return prompt.slice();
}

/** Throws `INVALID_OPTION` with the place of an id that the model does not have. */
export function toTokens(ids: TokenIds, vocab: number): Int32Array {
  if (ids.length === 0) {
    throw new SplitwiserError("INVALID_OPTION", "prompt: expected at least one token, the tokenizer makes none of this text");
  }
  const tokens = new Int32Array(ids.length);
  for (let i = 0; i < ids.length; i++) {
    const id: unknown = ids[i];
    if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id >= vocab) {
      throw new SplitwiserError(
        "INVALID_OPTION",
        `prompt[${i}]: expected a token id from 0 to ${vocab - 1} (the model's vocabulary), got ${describe(id)}`,
      );
    }
    tokens[i] = id;
  }
  return tokens;
}

/** Tokens of room after the prompt. Throws `PROMPT_TOO_LONG` when they are fewer than `wanted`. */
export function roomAfter(promptTokens: number, maxModelLen: number, wanted: number): number {
  const room = maxModelLen - promptTokens;
  if (room < wanted) {
    const output = wanted > 0 ? ", one of them for output" : "";
    throw new SplitwiserError(
      "PROMPT_TOO_LONG",
      `the prompt has ${promptTokens} tokens, there is room for ${maxModelLen}${output} (maxModelLen): ` +
        "shorten it, or load the model with a larger maxModelLen or kvCacheBytes",
    );
  }
  return room;
}
