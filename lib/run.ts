// One request from its options to its outcome: prepared (tokenized, its turn awaited), submitted, aborted, settled.
import type { EngineClient } from "./client.js";
import { Collector, type Outcome } from "./collector.js";
import { abortedError, disposedError, toSplitwiserError, type SplitwiserError } from "./errors.js";
import type { NativeRequest } from "./native.js";
import type { RequestSettings } from "./options.js";
import type { Completion, Delta } from "./types.js";

export interface RunOptions {
  client: EngineClient;
  settings: RequestSettings;
  n?: number;
  seed?: number;
  /** Makes the request; runs before anything native. */
  prepare: () => Promise<NativeRequest>;
  onDelta?: (delta: Delta) => void;
  /** Called once, before `outcome` settles: the sequence's handle (0: gone) and tokens of the first output. */
  onEnd?: (end: RunEnd) => void;
}

export interface RunEnd {
  /** False: native code never saw it, nothing has changed. */
  submitted: boolean;
  sequence: number;
  tokenIds: readonly number[];
  /** Only when it ended well. */
  outcome: Outcome | undefined;
}

export class Run {
  /** Rejects with `SplitwiserError` only. Never an unhandled rejection. */
  readonly outcome: Promise<Outcome>;
  readonly #client: EngineClient;
  readonly #collector: Collector;
  readonly #signal: AbortSignal | undefined;
  #request: number | undefined;
  #settled = false;

  constructor({ client, settings, n = 1, seed, prepare, onDelta, onEnd }: RunOptions) {
    this.#client = client;
    this.#signal = settings.signal;
    let resolve!: (outcome: Outcome) => void;
    let reject!: (error: SplitwiserError) => void;
    this.outcome = new Promise((onResolved, onRejected) => {
      resolve = onResolved;
      reject = onRejected;
    });
    this.outcome.catch(() => {});
    this.#collector = new Collector({
      n,
      seed,
      onAbort: settings.onAbort,
      onDelta,
      onSettled: (result) => {
        this.#settled = true;
        this.#signal?.removeEventListener("abort", this.#onSignal);
        const outcome = "outcome" in result ? result.outcome : undefined;
        onEnd?.({
          submitted: this.#request !== undefined,
          sequence: "error" in result ? result.sequence : result.outcome.sequence,
          tokenIds: this.#collector.tokenIds,
          outcome,
        });
        if ("error" in result) reject(result.error);
        else resolve(result.outcome);
      },
    });
    if (this.#signal?.aborted) {
      this.abort(this.#signal.reason);
      return;
    }
    this.#signal?.addEventListener("abort", this.#onSignal, { once: true });
    void this.#start(prepare);
  }

  get settled(): boolean {
    return this.#settled;
  }

  async completion(): Promise<Completion> {
    return (await this.outcome).completion;
  }

  abort(reason: unknown): void {
    if (this.#settled) return;
    this.#collector.abortReason = reason;
    if (this.#request === undefined) this.#collector.onLost(abortedError(reason));
    else this.#client.abort(this.#request);
  }

  readonly #onSignal = (): void => {
    this.abort(this.#signal?.reason);
  };

  async #start(prepare: () => Promise<NativeRequest>): Promise<void> {
    try {
      if (this.#client.disposed) throw disposedError("the model");
      const request = await prepare();
      // Aborted while it was prepared: native code never hears of it.
      if (this.#settled) return;
      this.#collector.promptTokens = request.tokens.length;
      this.#request = this.#client.submit(request, this.#collector);
    } catch (error) {
      this.#collector.onLost(toSplitwiserError(error));
    }
  }
}
