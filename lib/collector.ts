// Gathers the events of one request into its Completion.
import { abortedError, isErrorCode, SplitwiserError, type ErrorCode } from "./errors.js";
import type { RequestListener } from "./events.js";
import type { NativeEvent, NativeTokenLogprob } from "./native.js";
import { toRequestTiming, unsubmittedTiming } from "./timing.js";
import type { Completion, Delta, FinishReason, RequestTiming, TokenLogprob } from "./types.js";

type EndEvent = Extract<NativeEvent, { type: "end" }>;
type TokensEvent = Extract<NativeEvent, { type: "tokens" }>;
type ChoiceEvent = Extract<NativeEvent, { type: "choice" }>;

/** What a request gave, beside its output. */
export interface Outcome {
  completion: Completion;
  /** Handle of the held sequence, 0 if none. */
  sequence: number;
  timing: RequestTiming;
  logits: Float32Array | null;
}

interface Choice {
  text: string;
  tokenIds: number[];
  logprobs: TokenLogprob[] | undefined;
  finishReason: FinishReason;
  stopReason: string | number | null;
  timing: RequestTiming | undefined;
}

export interface CollectorOptions {
  n: number;
  seed: number | undefined;
  onAbort: "throw" | "return";
  onDelta?: ((delta: Delta) => void) | undefined;
  onSettled: (result: { outcome: Outcome } | { error: SplitwiserError; sequence: number }) => void;
}

export class Collector implements RequestListener {
  readonly #options: CollectorOptions;
  readonly #choices: Choice[];
  #settled = false;
  /** Tokens in the prompt, as far as it is known. */
  promptTokens = 0;
  /** Why it is being aborted: becomes the error's `cause`. */
  abortReason: unknown;

  constructor(options: CollectorOptions) {
    this.#options = options;
    this.#choices = Array.from({ length: options.n }, () => ({
      text: "",
      tokenIds: [],
      logprobs: undefined,
      finishReason: "abort",
      stopReason: null,
      timing: undefined,
    }));
  }

  /** Tokens of the first output so far. */
  get tokenIds(): readonly number[] {
    return this.#choices[0]?.tokenIds ?? [];
  }

  onEvent(event: NativeEvent): void {
    if (this.#settled) return;
    switch (event.type) {
      case "tokens":
        return this.#onTokens(event);
      case "choice":
        return this.#onChoice(event);
      case "end":
        return this.#onEnd(event);
      default:
        event satisfies never;
    }
  }

  /** It ends without a word from native code. */
  onLost(error: SplitwiserError): void {
    if (this.#settled) return;
    this.#finish(error, undefined);
  }

  #onTokens({ choice: index, tokens, text, logprobs }: TokensEvent): void {
    const choice = this.#choices[index];
    if (!choice) return;
    const tokenIds = Array.from(tokens);
    const converted = logprobs?.map(toTokenLogprob);
    for (const id of tokenIds) choice.tokenIds.push(id);
    choice.text += text;
    for (const logprob of converted ?? []) (choice.logprobs ??= []).push(logprob);
    this.#options.onDelta?.({ index, text, tokenIds, ...(converted && { logprobs: converted }) });
  }

  #onChoice({ choice: index, finishReason, stopReason, timing }: ChoiceEvent): void {
    const choice = this.#choices[index];
    if (!choice) return;
    choice.finishReason = finishReason;
    choice.stopReason = stopReason;
    choice.timing = toRequestTiming(timing);
  }

  #onEnd(end: EndEvent): void {
    this.promptTokens = end.promptTokens;
    if (!end.error) return this.#finish(undefined, end);
    const { code, message } = end.error;
    this.#finish(
      code === "ABORTED" ? abortedError(this.abortReason) : new SplitwiserError(isErrorCode(code) ? code : "INTERNAL", message),
      end,
    );
  }

  #finish(error: SplitwiserError | undefined, end: EndEvent | undefined): void {
    this.#settled = true;
    const { onAbort, onSettled } = this.#options;
    const timing = end ? toRequestTiming(end.timing) : unsubmittedTiming();
    const completion = this.#completion(end, timing);
    const sequence = end?.sequence ?? 0;
    const returned = onAbort === "return" && (error?.code === "ABORTED" || error?.code === "DEADLINE");
    if (error && !returned) {
      onSettled({ error: end || endsRequests.has(error.code) ? withPartial(error, completion) : error, sequence });
    } else {
      onSettled({ outcome: { completion, sequence, timing, logits: end?.logits ?? null } });
    }
  }

  #completion(end: EndEvent | undefined, timing: RequestTiming): Completion {
    const { seed } = this.#options;
    const promptLogprobs = end?.promptLogprobs?.map((entry) => (entry ? toTokenLogprob(entry) : null));
    const choices = this.#choices.map((choice): Completion => ({
      text: choice.text,
      tokenIds: choice.tokenIds,
      finishReason: choice.finishReason,
      ...(choice.stopReason !== null && { stopReason: choice.stopReason }),
      promptTokens: this.promptTokens,
      cachedTokens: end?.cachedTokens ?? 0,
      ...(seed !== undefined && { seed }),
      ...(choice.logprobs && { logprobs: choice.logprobs }),
      timing: choice.timing ?? timing,
    }));
    const [first] = choices;
    if (!first) throw new SplitwiserError("INTERNAL", "a request has no output");
    return { ...first, ...(choices.length > 1 && { choices }), ...(promptLogprobs && { promptLogprobs }) };
  }
}

/** Codes that end a request in the middle; the others refuse it before it begins. */
const endsRequests: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["ABORTED", "DEADLINE", "DISPOSED", "DEVICE_LOST"]);

function withPartial(error: SplitwiserError, partial: Completion): SplitwiserError {
  const { code, message } = error;
  return new SplitwiserError(code, message, { ...("cause" in error && { cause: error.cause }), partial });
}

function toTokenLogprob({ token, logprob, top }: NativeTokenLogprob): TokenLogprob {
  return { tokenId: token, logprob, top: top.map((entry) => ({ tokenId: entry.token, logprob: entry.logprob })) };
}
