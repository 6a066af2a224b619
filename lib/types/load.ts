// Options of loadModel and model.configure.

/**
 * Where to compute. "auto" takes the best device that is there and says why in `model.device.why`; a device named here is
 * never replaced by another.
 */
export type DeviceOption = "auto" | "cpu" | "cuda" | `cuda:${number}` | "virtual" | `virtual:${string}`;

/** Type in which matrices are kept in memory. */
export type StorageOption = "auto" | "f32" | "f16" | "bf16";

/** Type of the keys and values in the cache. */
export type CacheType = "auto" | "f32" | "f16" | "bf16";

/**
 * How the two phases share the device. "sequential": a prompt alone, then its tokens with the others', never both at once;
 * "chunked": prompts in chunks, mixed into the steps that generate; "split": prompts and generation at the same time on two lanes;
 * "auto": "split" when there are at least two threads or a CUDA device, and `maxTokenGapMs` is finite, else "chunked".
 */
export type ScheduleOption = "sequential" | "chunked" | "split" | "auto";

/**
 * How two lanes share the device. On a CPU: "cores" (disjoint cores) or "none" (all cores, in turns). On a CUDA device: "green-context"
 * or "mps" (disjoint or bounded multiprocessors), "cta-quota" (bounded blocks), "priority" (decode first) or "none".
 */
export type PartitionOption = "none" | "priority" | "cta-quota" | "green-context" | "mps" | "cores" | "auto";

export type LogLevel = "error" | "warn" | "info" | "debug";

export interface LogRecord {
  level: LogLevel;
  message: string;
}

/** "read": files looked at (headers, tokenizer); "convert": bytes of weights brought into the device's layout. */
export interface Progress {
  phase: "read" | "convert";
  done: number;
  total: number;
}

/** What `model.configure` can change while requests run. What is left out stays as it is. */
export interface ConfigureOptions {
  /** How the two phases share the device (see {@link ScheduleOption}). Throws `INVALID_OPTION` for another word. Default: "auto". */
  schedule?: ScheduleOption;
  /**
   * How two lanes share the device; what was obtained is `model.device.partition`. Throws `DEVICE_UNAVAILABLE` for one that
   * this device lacks. Default: "auto".
   */
  partition?: PartitionOption;
  /**
   * Share of the device for the prefill lane in "split", above 0 and below 1; what was obtained is in `model.device.lanes`.
   * Throws `INVALID_OPTION`. Default: chosen by the engine.
   */
  prefillShare?: number;
  /**
   * Bound on the gap between two tokens of a running request that schedule "auto" keeps, milliseconds; Infinity = throughput
   * only. Throws `INVALID_OPTION` unless above 0. Default: 250.
   */
  maxTokenGapMs?: number;
  /**
   * Token budget of one step in "chunked", chunk of a prompt in "split". May be smaller than `maxSequences`: a step then decodes in
   * turns. Throws `INVALID_OPTION` unless an integer of at least 1. Default: 512.
   */
  maxBatchTokens?: number;
}

/** Options of `loadModel`. Unknown names throw `INVALID_OPTION`. */
export interface LoadOptions extends ConfigureOptions {
  /**
   * Where to compute. Throws `DEVICE_UNAVAILABLE` when it is not there (it is never replaced silently), `INVALID_OPTION` for another word.
   * Default: "auto".
   */
  device?: DeviceOption;
  /**
   * Type in which matrices are kept: "auto" as stored in the files, else converted at load. Throws `INVALID_OPTION` for another
   * word, `OUT_OF_MEMORY` when the weights do not fit. Default: "auto".
   */
  dtype?: StorageOption;
  /**
   * Type of the KV cache: "auto" is f32 for f32 weights, else the 16-bit type of the weights. Throws `INVALID_OPTION` for another word.
   * Default: "auto".
   */
  kvCacheType?: CacheType;
  /** Requests decoded together; more of them wait. Throws `INVALID_OPTION` unless an integer of 1 to 65536. Default: 64. */
  maxSequences?: number;
  /**
   * Tokens that one sequence can hold, prompt and output. Throws `INVALID_OPTION` above the model's own number of positions,
   * `OUT_OF_MEMORY` when the cache cannot hold one such sequence. Default: the model's own, lowered to what the cache holds
   * (`model.config.maxModelLen` says so).
   */
  maxModelLen?: number;
  /** Tokens of one page of the KV cache. Throws `INVALID_OPTION` unless a multiple of 16 up to 1024. Default: 16. */
  pageSize?: number;
  /**
   * Bytes of the KV cache. Throws `OUT_OF_MEMORY` when they are not there or hold no page. Default: of what weights and activations
   * leave, half on a CPU (of the memory that this process may use) and 0.9 on a CUDA device, at most what `maxSequences` sequences of `maxModelLen` tokens need.
   */
  kvCacheBytes?: number;
  /** Threads that compute on the CPU; a CUDA device does not use them. Throws `INVALID_OPTION` unless an integer of 1 to 1024. Default: the physical cores that this process may use. */
  threads?: number;
  /** Called while loading. What it throws aborts the load with that error as `cause` (`ABORTED`). Default: none. */
  onProgress?: (progress: Progress) => void;
  /** Receives what the library has to say; it prints nothing by itself unless `SPLITWISER_LOG` is set. Default: none. */
  onLog?: (record: LogRecord) => void;
  /** Ends the load with `ABORTED`. Default: none. */
  signal?: AbortSignal;
}
