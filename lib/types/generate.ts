// Prompts and options of a request.

/** Token ids. They are used as they are: no special token is added. */
export type TokenIds = readonly number[] | Uint32Array;

/** Text (special tokens such as BOS are added as the tokenizer's own rule says) or token ids. */
export type Prompt = string | TokenIds;

/** What a request can ask of the scheduler, whether it generates or not. */
export interface PrefillOptions {
  /** Ends the request with `ABORTED`. Default: none. */
  signal?: AbortSignal;
  /** Requests of a higher number go first. Throws `INVALID_OPTION` unless an integer. Default: 0. */
  priority?: number;
}

/**
 * Options of `generate` and `stream`. Unknown names and values outside of their range throw `INVALID_OPTION`.
 * The order in which logits are changed: repetition, presence and frequency penalty, logitBias, minTokens, temperature, topK, minP, topP.
 */
export interface GenerateOptions extends PrefillOptions {
  /** Tokens to generate at most; cut to what `maxModelLen` leaves (`finishReason` "length"). An integer of at least 1. Default: 128. */
  maxTokens?: number;
  /** End and stop ids cannot be drawn before this many tokens. An integer from 0 to maxTokens. Default: 0. */
  minTokens?: number;
  /** 0 takes the most probable token; above, logits are divided by it. A finite number of at least 0. Default: 0. */
  temperature?: number;
  /** Keep the k most probable tokens, ties at the border included; 0 = off. An integer of at least 0. Default: 0. */
  topK?: number;
  /** Keep the most probable tokens whose probabilities add up to this. Above 0, at most 1 (= off). Default: 1. */
  topP?: number;
  /** Keep tokens of at least this fraction of the highest probability. From 0 (= off) to 1. Default: 0. */
  minP?: number;
  /** Positive logits of tokens seen in prompt or output are divided by it, negative ones multiplied. Above 0; 1 = off. Default: 1. */
  repetitionPenalty?: number;
  /** Subtracted from the logits of tokens in the output. A finite number. Default: 0. */
  presencePenalty?: number;
  /** Subtracted from the logits of tokens in the output, once for each time. A finite number. Default: 0. */
  frequencyPenalty?: number;
  /** Added to logits, by token id; -Infinity forbids a token. Default: none. */
  logitBias?: Readonly<Record<number, number>> | ReadonlyMap<number, number>;
  /**
   * Texts that end the output, wherever they lie across tokens; they are not part of `text`, and `stopReason` names the one found.
   * Not empty strings; needs a tokenizer. Default: none.
   */
  stop?: string | readonly string[];
  /** Tokens that end the output, beside the model's own end tokens; `stopReason` is the id. Default: none. */
  stopTokenIds?: readonly number[];
  /** Go on after the model's own end tokens. Default: false. */
  ignoreEos?: boolean;
  /**
   * Of the random generator, which is keyed by (seed, index among n, position): the same prompt, options and seed give the same
   * tokens on every call. A safe integer of at least 0. Default: drawn for each prompt, and returned.
   */
  seed?: number;
  /** Outputs for the prompt; all of them are in `choices`. An integer from 1 to `maxSequences`. Default: 1. */
  n?: number;
  /** Log-probabilities of each generated token and of the N most probable ones. An integer from 0 to 1000. Default: none. */
  logprobs?: number;
  /** The same for each token of the prompt (null for the first one). An integer from 0 to 1000. Default: none. */
  promptLogprobs?: number;
  /** Ends the request with `DEADLINE` this many milliseconds after it was submitted. Above 0. Default: none. */
  deadlineMs?: number;
  /**
   * "throw": an aborted request rejects with `ABORTED`, one past its deadline with `DEADLINE`, and `error.partial` holds what there is;
   * "return": that partial Completion (`finishReason` "abort") is the result. Default: "throw".
   */
  onAbort?: "throw" | "return";
}

/** Options of `sequence.decode`: those of `generate` but `n` (fork the sequence instead) and `promptLogprobs` (its prompt is computed already). */
export type SequenceDecodeOptions = Omit<GenerateOptions, "n" | "promptLogprobs">;
