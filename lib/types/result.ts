// What requests give.

/** "stop": an end token, stop id or stop text; "length": `maxTokens` or `maxModelLen`; "abort": aborted, past its deadline, disposed. */
export type FinishReason = "stop" | "length" | "abort";

export interface TokenAlternative {
  tokenId: number;
  /** Natural logarithm of the probability that the model gives, before penalties and temperature. */
  logprob: number;
}

export interface TokenLogprob extends TokenAlternative {
  /** The most probable tokens at this position, best first. */
  top: TokenAlternative[];
}

/** New output since the last delta. */
export interface Delta {
  /** Which of `n`. */
  index: number;
  /** Whole characters only. */
  text: string;
  tokenIds: number[];
  logprobs?: TokenLogprob[];
}

/** One stay of a request in one phase. Milliseconds since the request was submitted. */
export interface PhaseSpan {
  phase: "queued" | "prefill" | "decode" | "preempted";
  startMs: number;
  endMs: number;
  /** Where the work ran; null where it waited. */
  lane: "prefill" | "decode" | null;
  /** Tokens computed. */
  tokens: number;
}

/** Milliseconds, taken natively with one monotonic clock; null where there is no such time. */
export interface RequestTiming {
  /** When it was submitted, on the clock of `timeline()` and `stats().nowMs`. */
  submittedMs: number;
  /** Submitted to first work on a lane. */
  queueMs: number;
  /** First prompt work to first token, waits between chunks included; null without a first token or without a prompt to compute. */
  prefillMs: number | null;
  /** Submitted to first token. */
  ttftMs: number | null;
  /** First token to last token; null with fewer than 2 tokens. */
  decodeMs: number | null;
  /** Gaps between tokens: tokens - 1 of them. */
  itlMs: number[];
  /** Time per output token after the first: (e2eMs - ttftMs) / (tokens - 1); null with fewer than 2 tokens. */
  tpotMs: number | null;
  /** Submitted to end. */
  e2eMs: number;
  /** Where the time went, in order. */
  phases: PhaseSpan[];
  prefillTokens: number;
  decodeTokens: number;
  preemptions: number;
}

export interface Completion {
  /** Output text without special tokens and without the stop text; "" when the model has no tokenizer. */
  text: string;
  /** Output tokens, the end token included. */
  tokenIds: number[];
  finishReason: FinishReason;
  /** The stop text or stop id that ended it. */
  stopReason?: string | number;
  /** With n > 1: all outputs by index; the fields beside it are those of the first. */
  choices?: Completion[];
  promptTokens: number;
  /** Prompt tokens whose keys and values were there already. */
  cachedTokens: number;
  /** Seed in use, drawn if none was given. */
  seed?: number;
  /** One for each token, with `logprobs`. */
  logprobs?: TokenLogprob[];
  /** One for each prompt token (null for the first), with `promptLogprobs`. */
  promptLogprobs?: (TokenLogprob | null)[];
  timing: RequestTiming;
}

/**
 * A request's output as it comes. Leaving the loop early aborts it. A slow reader does not stall the engine: deltas merge.
 * The loop throws what `result` rejects with. It can be read once.
 */
export interface CompletionStream extends AsyncIterable<Delta> {
  /** The whole output. Rejects with `SplitwiserError`; never an unhandled rejection. */
  readonly result: Promise<Completion>;
  /** Ends the request: `result` rejects with `ABORTED` (or gives the partial Completion with `onAbort: "return"`). */
  abort(): void;
}

/** Row-major float32. */
export interface Logits {
  data: Float32Array;
  /** [tokens, vocab], or [vocab] for one position. */
  shape: number[];
}
