// An engine in memory that speaks the native surface: tokens are counted up, nothing is computed. It makes events, aborts and errors of
// the library testable without native code.
import { EngineClient } from "../../dist/client.js";
import { Configuration } from "../../dist/configuration.js";
import { SplitwiserError } from "../../dist/errors.js";
import { EventHub } from "../../dist/events.js";
import { checkLoadOptions } from "../../dist/load-options.js";
import { makeLog } from "../../dist/log.js";
import { Model } from "../../dist/model.js";
import type {
  NativeEngine,
  NativeEngineOptions,
  NativeEvent,
  NativeInfo,
  NativeRequest,
  NativeStats,
  NativeTimelineEvent,
  NativeTiming,
} from "../../dist/native.js";
import { PromptReader } from "../../dist/prompt.js";
import type { LoadedTokenizer } from "../../dist/tokenizer/tokenizer.js";

export const vocab = 100;
export const maxModelLen = 64;

interface Live {
  id: number;
  request: NativeRequest;
  /** Tokens of the sequence when the request began, those of the request included. */
  tokens: number[];
  /** Tokens generated so far by every choice. */
  generated: number[];
  handle: number;
}

export class FakeEngine implements NativeEngine {
  readonly requests: NativeRequest[] = [];
  readonly aborted: number[] = [];
  readonly configured: NativeEngineOptions[] = [];
  readonly held = new Map<number, number[]>();
  /** Tokens that one tick of the clock gives; 0: the clock stands still until `tick`. */
  tokensPerTick = 1;
  disposals = 0;
  #live = new Map<number, Live>();
  #next = 0;
  #running = false;
  readonly #deliver: (events: NativeEvent[]) => void;

  constructor(deliver: (events: NativeEvent[]) => void) {
    this.#deliver = deliver;
  }

  submit(request: NativeRequest): number {
    if (request.generate?.n === 7) throw Object.assign(new Error("the request needs 900 pages, the cache has 4"), { code: "OUT_OF_MEMORY" });
    const past = request.sequence === 0 ? [] : this.held.get(request.sequence);
    if (!past) throw Object.assign(new Error("the sequence was disposed"), { code: "INVALID_OPTION" });
    const id = ++this.#next;
    this.requests.push(request);
    this.#live.set(id, { id, request, tokens: [...past, ...request.tokens], generated: [], handle: request.sequence });
    this.#wake();
    return id;
  }

  abort(id: number): void {
    this.aborted.push(id);
    this.#fail(id, { code: "ABORTED", message: "the request was aborted" });
  }

  fork(sequence: number): number {
    const handle = ++this.#next;
    this.held.set(handle, [...(this.held.get(sequence) ?? [])]);
    return handle;
  }

  truncate(sequence: number, length: number): void {
    const tokens = this.held.get(sequence);
    if (tokens) tokens.length = length;
  }

  release(sequence: number): void {
    this.held.delete(sequence);
    for (const live of this.#live.values()) {
      if (live.handle === sequence) this.#fail(live.id, { code: "DISPOSED", message: "the sequence was disposed" });
    }
  }

  configure(options: NativeEngineOptions): Promise<void> {
    this.configured.push(options);
    return Promise.resolve();
  }

  info(): NativeInfo {
    const lane = { cores: 1, sms: 0, share: 0.5 };
    return {
      device: "fake",
      isa: "portable",
      partition: "cores",
      partitionNotes: [],
      lanes: { prefill: lane, decode: lane },
      memory: { weights: 1, kv: 2, activations: 3 },
      parameters: 4,
    };
  }

  stats(): NativeStats {
    return {
      waiting: 0,
      running: this.#live.size,
      held: this.held.size,
      pages: { total: 4, free: 4, used: 0, cached: 0 },
      promptTokens: 0,
      generatedTokens: 0,
      preemptions: 0,
      lanes: { prefill: { busyMs: 0, steps: 0 }, decode: { busyMs: 0, steps: 0 } },
      schedule: "chunked",
      nowMs: 1,
    };
  }

  timeline(limit: number): NativeTimelineEvent[] {
    const event: NativeTimelineEvent = {
      lane: "decode", phase: "decode", startMs: 0.0004, endMs: 1.0004, requests: [1], tokens: 1, partition: "none", sharedSms: false,
    };
    return Array.from({ length: Math.min(limit, 3) }, () => event);
  }

  dispose(): Promise<void> {
    this.disposals++;
    for (const id of this.#live.keys()) this.#fail(id, { code: "DISPOSED", message: "the model was disposed" });
    return Promise.resolve();
  }

  /** The engine forgets its requests without a word, as a broken one would. */
  lose(): void {
    this.#live.clear();
  }

  #wake(): void {
    if (this.#running) return;
    this.#running = true;
    setImmediate(() => {
      this.#running = false;
      for (let i = 0; i < this.tokensPerTick; i++) this.#step();
      if (this.#live.size > 0) this.#wake();
    });
  }

  #step(): void {
    for (const live of [...this.#live.values()]) {
      const { generate } = live.request;
      if (!generate) {
        this.#end(live, null);
        continue;
      }
      const token = ((live.tokens.at(-1) ?? 0) + 1 + live.generated.length) % vocab;
      live.generated.push(token);
      this.#deliver(
        Array.from({ length: generate.n }, (_, choice) => ({
          type: "tokens",
          request: live.id,
          choice,
          tokens: Int32Array.of(token),
          text: `${token} `,
          logprobs: generate.logprobs < 0 ? null : [{ token, logprob: -1, top: [{ token, logprob: -1 }] }],
        })),
      );
      const stop = generate.stopTokenIds.includes(token);
      if (stop || live.generated.length >= generate.maxTokens) this.#end(live, null, stop ? token : null);
    }
  }

  #fail(id: number, error: { code: string; message: string }): void {
    const live = this.#live.get(id);
    // As native code does: the end comes later, on the event loop.
    if (live) setImmediate(() => this.#end(live, error));
  }

  #end(live: Live, error: { code: string; message: string } | null, stopReason: number | null = null): void {
    if (!this.#live.delete(live.id)) return;
    const { request, tokens, generated } = live;
    const timing = timingOf(generated.length, request.tokens.length);
    const keep = request.sequence !== 0 ? this.held.has(request.sequence) : request.keep && !error;
    const handle = !keep ? 0 : request.sequence !== 0 ? request.sequence : ++this.#next;
    if (keep) this.held.set(handle, [...tokens, ...generated]);
    const choices = Array.from({ length: request.generate?.n ?? 0 }, (_, choice): NativeEvent => ({
      type: "choice",
      request: live.id,
      choice,
      finishReason: error ? "abort" : stopReason === null ? "length" : "stop",
      stopReason,
      timing,
    }));
    const rows = request.logits ? request.tokens.length : request.lastLogits ? 1 : 0;
    this.#deliver([
      ...choices,
      {
        type: "end",
        request: live.id,
        error,
        sequence: handle,
        promptTokens: tokens.length,
        cachedTokens: 0,
        timing,
        promptLogprobs: null,
        logits: rows === 0 ? null : new Float32Array(rows * vocab),
      },
    ]);
  }
}

function timingOf(tokens: number, prompt: number): NativeTiming {
  return {
    submittedMs: 10,
    startedMs: 12,
    endMs: 20 + tokens,
    tokenMs: Float64Array.from({ length: tokens }, (_, i) => 20 + i),
    spans: [{ phase: "queued", startMs: 10, endMs: 12, lane: null, tokens: 0 }],
    prefillTokens: prompt,
    decodeTokens: tokens,
    preemptions: 0,
  };
}

/** A text is tokenized to its characters' codes below 100, with 0 as the begin token. */
export const fakeTokenizer: LoadedTokenizer = {
  encode: async (text) => (await fakeTokenizer.encodeAll([text], true))[0] ?? [],
  decode: (ids) => Promise.resolve(Array.from(ids).join(" ")),
  encodeAll: (texts, addSpecialTokens) => {
    if (texts.includes("poison")) return Promise.reject(new SplitwiserError("INTERNAL", "the tokenizer is broken"));
    return Promise.resolve(
      texts.map((text) => [...(addSpecialTokens ? [0] : []), ...Array.from(text, (c) => (c.codePointAt(0) ?? 0) % vocab)]),
    );
  },
  vocabulary: () => null,
};

export function fakeModel(): { model: Model; engine: FakeEngine; hub: EventHub } {
  const hub = new EventHub();
  const engine = new FakeEngine(hub.deliver);
  const client = new EngineClient(engine, hub);
  const settings = checkLoadOptions({});
  const native = { name: "fake", cores: 2, isa: "portable", isas: [], memoryBytes: 1, availableBytes: 1 };
  const device = { kind: "cpu", id: "cpu", native, why: "it is a test" } as const;
  const config = {
    family: "opt", layers: 1, heads: 1, kvHeads: 1, headDim: 1, hidden: 1, ffn: 1, vocab, maxModelLen, maxPositions: maxModelLen,
    dtype: "f32", kvCacheType: "f32", pageSize: 16, pages: 4, parameters: 4, endTokenIds: [2],
  } as const;
  const model = new Model({
    context: {
      client,
      prompts: new PromptReader(fakeTokenizer),
      limits: { vocab, endTokenIds: [2], maxSequences: 8, text: true, maxModelLen },
    },
    configuration: new Configuration({
      client, settings, device,
      ground: { device: "cpu", threads: 2, maxSequences: 8 },
      log: makeLog(undefined),
    }),
    config: { ...config, endTokenIds: [2] },
    tokenizer: fakeTokenizer,
  });
  return { model, engine, hub };
}
