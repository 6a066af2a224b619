// A prompt that is computed and held: the two phases by hand.
import type { EngineClient } from "./client.js";
import type { ModelContext } from "./context.js";
import { disposedError, SplitwiserError } from "./errors.js";
import {
  checkDecodeOptions,
  checkPrefillOptions,
  drawSeed,
  nativeGenerate,
  plainRequest,
  type RequestSettings,
} from "./options.js";
import type { NativeRequest } from "./native.js";
import { Run, type RunEnd } from "./run.js";
import { streamOf } from "./stream.js";
import { roomAfter, toTokens } from "./prompt.js";
import type { CompletionStream, Delta, Logits, PrefillOptions, Prompt, RequestTiming, SequenceDecodeOptions } from "./types.js";
import { checkInteger } from "./validate.js";

/** Pages of sequences that were forgotten without dispose() go back when the garbage collector notices. */
const forgotten = new FinalizationRegistry<{ client: WeakRef<EngineClient>; handle: number }>(({ client, handle }) => {
  client.deref()?.release(handle);
});

/**
 * Tokens whose keys and values are held in the cache. Its calls run one after another, in the order in which they were made.
 * Every method rejects (`decode`: its stream throws) with `DISPOSED` once the sequence or its model is disposed.
 */
export class Sequence {
  readonly #model: ModelContext;
  #handle: number;
  #tokenIds: number[];
  #timing: RequestTiming;
  #disposed = false;
  /** Calls that have not ended. */
  #busy = 0;
  #tail: Promise<unknown> = Promise.resolve();

  /** @internal */
  constructor(model: ModelContext, handle: number, tokenIds: number[], timing: RequestTiming) {
    this.#model = model;
    this.#handle = handle;
    this.#tokenIds = tokenIds;
    this.#timing = timing;
    forgotten.register(this, { client: new WeakRef(model.client), handle }, this);
  }

  /** @internal Computes a prompt and holds it. */
  static async prefill(model: ModelContext, prompt: Prompt, options: unknown): Promise<Sequence> {
    const settings = checkPrefillOptions(options);
    const read = model.prompts.reader(prompt, true);
    let tokens: Int32Array = new Int32Array(0);
    const run = new Run({
      client: model.client,
      settings,
      prepare: async () => {
        tokens = toTokens(await read(), model.limits.vocab);
        roomAfter(tokens.length, model.limits.maxModelLen, 0);
        return { ...plainRequest(tokens, settings), keep: true };
      },
    });
    const { sequence, timing } = await run.outcome;
    return new Sequence(model, sequence, Array.from(tokens), timing);
  }

  /** Tokens held: prompt, what was appended, what was generated. */
  get length(): number {
    return this.#tokenIds.length;
  }

  /** The tokens held (a copy). */
  get tokenIds(): number[] {
    return this.#tokenIds.slice();
  }

  /** Of the last prompt that was computed: by `prefill` or `append`. */
  get timing(): RequestTiming {
    return this.#timing;
  }

  /**
   * Generates tokens, which the sequence then holds; may be called again. Throws `INVALID_OPTION` at once; the stream throws
   * `PROMPT_TOO_LONG` when `maxModelLen` leaves no room, `ABORTED`, `DEADLINE`, `OUT_OF_MEMORY`, `DEVICE_LOST`. What was generated before an abort stays.
   */
  decode(options: SequenceDecodeOptions = {}): CompletionStream {
    const settings = checkDecodeOptions(options, this.#model.limits);
    const seed = settings.seed ?? drawSeed();
    return streamOf((onDelta) =>
      this.#run(settings, { seed, onDelta }, () => {
        const room = roomAfter(this.length, this.#model.limits.maxModelLen, 1);
        return { generate: nativeGenerate(settings, seed, room) };
      }),
    );
  }

  /**
   * Computes more tokens at the end; text gets no special tokens. Rejects with `INVALID_OPTION`, `PROMPT_TOO_LONG`, `OUT_OF_MEMORY`, `ABORTED`.
   */
  async append(prompt: Prompt, options: PrefillOptions = {}): Promise<void> {
    const settings = checkPrefillOptions(options);
    const read = this.#model.prompts.reader(prompt, false);
    const run = this.#run(settings, {}, async () => {
      const tokens = toTokens(await read(), this.#model.limits.vocab);
      roomAfter(this.length + tokens.length, this.#model.limits.maxModelLen, 0);
      return { tokens };
    });
    this.#timing = (await run.outcome).timing;
  }

  /** Logits after the last token, before penalties and temperature. Rejects as `append` does. */
  async logits(options: PrefillOptions = {}): Promise<Logits> {
    const settings = checkPrefillOptions(options);
    const { logits } = await this.#run(settings, {}, () => ({ lastLogits: true })).outcome;
    return { data: logits ?? new Float32Array(0), shape: [this.#model.limits.vocab] };
  }

  /** Forgets the tokens from `length` on. Rejects with `INVALID_OPTION` unless 0 <= length <= this.length. */
  async truncate(length: number): Promise<void> {
    await this.#inTurn(() => {
      checkInteger("length", length, { min: 0, max: this.length });
      this.#model.client.truncate(this.#handle, length);
      this.#tokenIds.length = length;
    });
  }

  /** A second sequence over the same pages, which are copied when one of the two writes. Throws `INVALID_OPTION` while a call of this one runs. */
  fork(): Sequence {
    this.#check();
    if (this.#busy > 0) {
      throw new SplitwiserError("INVALID_OPTION", "fork: the sequence is busy: await its running call first, then fork");
    }
    return new Sequence(this.#model, this.#model.client.fork(this.#handle), this.tokenIds, this.#timing);
  }

  /** Frees its pages and ends its running call with `DISPOSED`. May be called again. */
  async dispose(): Promise<void> {
    if (!this.#disposed) {
      this.#disposed = true;
      forgotten.unregister(this);
      this.#model.client.release(this.#handle);
    }
    await this.#tail;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  #check(): void {
    if (this.#disposed) throw disposedError("the sequence");
  }

  /** Starts a request on this sequence once the calls before it have ended. */
  #run(
    settings: RequestSettings,
    run: { seed?: number; onDelta?: (delta: Delta) => void },
    request: () => Partial<NativeRequest> | Promise<Partial<NativeRequest>>,
  ): Run {
    const before = this.#tail;
    let tokens: Int32Array = new Int32Array(0);
    this.#busy++;
    const started = new Run({
      client: this.#model.client,
      settings,
      ...run,
      prepare: async () => {
        await before;
        this.#check();
        const made = { ...plainRequest(tokens, settings), ...(await request()), sequence: this.#handle, keep: true };
        tokens = made.tokens;
        return made;
      },
      onEnd: (end) => this.#onEnd(end, tokens),
    });
    this.#tail = started.outcome.catch(() => {});
    return started;
  }

  #onEnd({ submitted, sequence, tokenIds }: RunEnd, appended: Int32Array): void {
    this.#busy--;
    if (!submitted) return;
    if (sequence === 0) {
      this.#disposed = true;
      return;
    }
    this.#handle = sequence;
    for (const id of appended) this.#tokenIds.push(id);
    for (const id of tokenIds) this.#tokenIds.push(id);
  }

  async #inTurn(work: () => void): Promise<void> {
    this.#check();
    this.#busy++;
    const turn = this.#tail.then(() => {
      this.#check();
      work();
    });
    this.#tail = turn.catch(() => {});
    try {
      await turn;
    } finally {
      this.#busy--;
    }
  }
}
