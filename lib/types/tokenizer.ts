import type { TokenIds } from "./generate.js";

export interface EncodeOptions {
  /** Add the special tokens (BOS, ...) that the tokenizer's own rule adds to a text. Default: true. */
  addSpecialTokens?: boolean;
}

export interface DecodeTextOptions {
  /** Leave special tokens out of the text, as `Completion.text` does. Default: true. */
  skipSpecialTokens?: boolean;
}

/** The tokenizer of a model, as its tokenizer.json says. */
export interface Tokenizer {
  /** Text to token ids. Throws `INVALID_OPTION`, also when the model's folder has no tokenizer.json. */
  encode(text: string, options?: EncodeOptions): Promise<number[]>;
  /** Token ids to text. Throws `INVALID_OPTION`, also when the model's folder has no tokenizer.json. */
  decode(ids: TokenIds, options?: DecodeTextOptions): Promise<string>;
}
