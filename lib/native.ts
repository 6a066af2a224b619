// The native surface, typed by hand once, and the loader of the addon. Nothing else in lib/ knows C++.

/** Storage types that native code reads and keeps. */
export type NativeDType = "f32" | "f16" | "bf16";

/** What native code needs of a model; `lib/model/` makes it from config.json, checked. */
export interface NativeModel {
  family: "opt";
  layers: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  hidden: number;
  ffn: number;
  vocab: number;
  /** Positions that the model was made for. */
  maxPositions: number;
  /** Width of the token embedding; differs from `hidden` where there is project_in / project_out. */
  embedDim: number;
  normEps: number;
  /** Norm before attention and MLP (OPT-125M) or after the residual (OPT-350M). */
  preNorm: boolean;
  finalNorm: boolean;
  activation: "relu" | "gelu";
  tiedEmbeddings: boolean;
  biases: boolean;
}

export interface NativeTensor {
  name: string;
  dtype: NativeDType;
  /** At most 2 dimensions. */
  shape: number[];
  /** Index into `NativeLoad.files`. */
  file: number;
  /** Absolute byte offset in the file. Native code checks that [offset, offset + bytes) lies in the mapped file. */
  offset: number;
  bytes: number;
}

/** Token bytes and the decoder's rule, so that text is native (incremental text, stop strings). */
export interface NativeVocabulary {
  /**
   * "byte-level": a token's bytes are its text. "byte-fallback": single-byte tokens join into characters, invalid runs become
   * U+FFFD each, and one leading space of the whole text is dropped (Llama). "metaspace": bytes are text with blanks, one leading blank of the whole text is dropped (T5).
   */
  kind: "byte-level" | "byte-fallback" | "metaspace";
  /** All tokens' bytes, one after another. */
  bytes: Uint8Array;
  /** [vocab + 1]: token t has bytes[offsets[t] .. offsets[t + 1]). */
  offsets: Uint32Array;
  /** [vocab]: 1 = special (skipped in text), 2 = a byte-fallback token (<0x41>), 0 = plain. */
  kinds: Uint8Array;
}

export type NativeSchedule = "sequential" | "chunked" | "split";
export type NativePartition = "none" | "cores" | "priority" | "cta-quota" | "mps" | "green-context";

export interface NativeEngineOptions {
  schedule: NativeSchedule;
  /** null: the backend's best. */
  partition: NativePartition | null;
  /** null: half. */
  prefillShare: number | null;
  maxSequences: number;
  maxBatchTokens: number;
}

export interface NativeLoad {
  /**
   * null: the CPU. A prompt is issued in layer groups of at most `layerGroupMs` milliseconds, as predicted, two of them at a time: what is
   * enqueued cannot be called back.
   */
  cuda: { ordinal: number; layerGroupMs: number } | null;
  model: NativeModel;
  files: string[];
  tensors: NativeTensor[];
  /** Type in which matrices are kept. */
  storage: NativeDType;
  kvType: NativeDType;
  pageSize: number;
  kvPages: number;
  maxModelLen: number;
  /** Of the CPU; a CUDA device does not use them. */
  threads: number;
  vocabulary: NativeVocabulary | null;
  engine: NativeEngineOptions;
}

export interface NativeGenerate {
  maxTokens: number;
  minTokens: number;
  temperature: number;
  topK: number;
  topP: number;
  minP: number;
  repetitionPenalty: number;
  presencePenalty: number;
  frequencyPenalty: number;
  biasTokens: Int32Array;
  biasValues: Float32Array;
  stop: string[];
  stopTokenIds: Int32Array;
  /** End-of-sequence ids; empty with ignoreEos. */
  endTokenIds: Int32Array;
  seed: bigint;
  n: number;
  /** Top N per token; -1: none. */
  logprobs: number;
}

/** One call: tokens to append to a sequence (a prompt), then generation if wanted. */
export interface NativeRequest {
  /** 0: a new sequence; else a held one. */
  sequence: number;
  tokens: Int32Array;
  /** The sequence stays when the request ends well ("end" carries its handle). */
  keep: boolean;
  generate: NativeGenerate | null;
  /** Logits of every appended token come with "end". */
  logits: boolean;
  /** The logits of the last position come with "end" (float32 [vocab]). */
  lastLogits: boolean;
  /** Top N per prompt token; -1: none. */
  promptLogprobs: number;
  priority: number;
  /** Milliseconds from submit; 0: none. */
  deadlineMs: number;
}

export interface NativeTokenLogprob {
  token: number;
  logprob: number;
  top: { token: number; logprob: number }[];
}

export interface NativeSpan {
  phase: "queued" | "prefill" | "decode" | "preempted";
  startMs: number;
  endMs: number;
  lane: "prefill" | "decode" | null;
  tokens: number;
}

/** Stamps of one choice: milliseconds since the engine began, one monotonic clock. */
export interface NativeTiming {
  submittedMs: number;
  /** First work on a lane; null: none. */
  startedMs: number | null;
  endMs: number;
  /** When each token was sampled. */
  tokenMs: Float64Array;
  spans: NativeSpan[];
  prefillTokens: number;
  decodeTokens: number;
  preemptions: number;
}

export type NativeEvent =
  | { type: "tokens"; request: number; choice: number; tokens: Int32Array; text: string; logprobs: NativeTokenLogprob[] | null }
  | {
      type: "choice";
      request: number;
      choice: number;
      finishReason: "stop" | "length" | "abort";
      stopReason: string | number | null;
      timing: NativeTiming;
    }
  | {
      /** The last event of a request. */
      type: "end";
      request: number;
      /** null: it ended well. */
      error: { code: string; message: string } | null;
      /** Handle of the held sequence, 0 if none. */
      sequence: number;
      promptTokens: number;
      cachedTokens: number;
      timing: NativeTiming;
      promptLogprobs: (NativeTokenLogprob | null)[] | null;
      logits: Float32Array | null;
    };

export interface NativeLane {
  /** 0 on a CUDA device. */
  cores: number;
  /** 0 on a CPU. */
  sms: number;
  share: number;
}

export interface NativeInfo {
  device: string;
  isa: string;
  partition: NativePartition;
  /** Why better partitions were not to be had, best first. */
  partitionNotes: string[];
  lanes: { prefill: NativeLane; decode: NativeLane };
  /** Bytes held: weights, KV pool, workspaces of both lanes. */
  memory: { weights: number; kv: number; activations: number };
  parameters: number;
}

export interface NativeStats {
  waiting: number;
  running: number;
  held: number;
  pages: { total: number; free: number; used: number; cached: number };
  promptTokens: number;
  generatedTokens: number;
  preemptions: number;
  lanes: { prefill: { busyMs: number; steps: number }; decode: { busyMs: number; steps: number } };
  schedule: NativeSchedule;
  /** Milliseconds since the engine began. */
  nowMs: number;
}

export interface NativeTimelineEvent {
  lane: "prefill" | "decode";
  phase: "prefill" | "decode";
  startMs: number;
  endMs: number;
  requests: number[];
  tokens: number;
  partition: NativePartition;
  sharedSms: boolean;
}

export interface NativeEngine {
  /** Returns the request's id. Throws at once what can never run. */
  submit(request: NativeRequest): number;
  abort(request: number): void;
  fork(sequence: number): number;
  truncate(sequence: number, length: number): void;
  release(sequence: number): void;
  /** Resolves when the next step will obey. */
  configure(options: NativeEngineOptions): Promise<void>;
  info(): NativeInfo;
  stats(): NativeStats;
  /** The last `limit` events, oldest first. */
  timeline(limit: number): NativeTimelineEvent[];
  /** Ends all requests with DISPOSED, joins the threads off the main thread. May be called again. */
  dispose(): Promise<void>;
}

export interface NativeDevice {
  name: string;
  /** Physical cores that this process may use. */
  cores: number;
  /** The instruction set in use, by CPU and SPLITWISER_ISA: "portable" | "avx2" | "avx512" | "neon". */
  isa: string;
  isas: string[];
  memoryBytes: number;
  /** Free for this process, cgroup limits included. */
  availableBytes: number;
}

export interface NativeCudaDevice {
  ordinal: number;
  /** "" where it can be used. */
  reason: string;
  name: string;
  /** As in "sm_90". */
  arch: string;
  sms: number;
  memoryBytes: number;
  /** Free on the device now. */
  availableBytes: number;
  /** As in "13.0". */
  driver: string;
}

export interface NativeAddon {
  cpu(): NativeDevice;
  /** At least one: where there is no driver, no device or no kernel in the addon, cuda:0 says so. Never throws. */
  cuda(): NativeCudaDevice[];
  /**
   * Starts loading on another thread. `onProgress` is called with bytes done and in all; `onEvents` with batches of events as long as
   * the engine lives (it must not reference the engine, or the engine is never collected).
   */
  load(
    load: NativeLoad,
    onProgress: (done: number, total: number) => void,
    onEvents: (events: NativeEvent[]) => void,
  ): { engine: Promise<NativeEngine>; cancel(): void };
}
