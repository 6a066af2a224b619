// What a loaded model, a device and the memory plan say about themselves.
import type { PartitionOption, ScheduleOption } from "./load.js";

/** A device of this machine, there or not. */
export type DeviceInfo =
  | {
      id: "cpu";
      available: true;
      name: string;
      /** Physical cores that this process may use. */
      cores: number;
      /** Instruction set in use: "portable", "avx2", "avx512" or "neon"; `SPLITWISER_ISA` forces one. */
      isa: string;
      memoryBytes: number;
    }
  | {
      id: `cuda:${number}`;
      available: true;
      name: string;
      /** Architecture, as in "sm_90". */
      arch: string;
      /** Streaming multiprocessors. */
      sms: number;
      memoryBytes: number;
      /** CUDA version of the driver, as in "13.0". */
      driver: string;
    }
  | {
      id: "cpu" | `cuda:${number}`;
      available: false;
      /** Why not, and what to do. */
      reason: string;
    };

export interface ModelConfig {
  family: "opt";
  layers: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  hidden: number;
  ffn: number;
  vocab: number;
  /** Tokens that one sequence can hold, prompt and output. */
  maxModelLen: number;
  /** Positions that the model was made for. */
  maxPositions: number;
  /** Type in which matrices are kept. */
  dtype: "f32" | "f16" | "bf16";
  kvCacheType: "f32" | "f16" | "bf16";
  /** Tokens of a page of the KV cache. */
  pageSize: number;
  /** Pages of the KV cache. */
  pages: number;
  parameters: number;
  /** Tokens that end an output. */
  endTokenIds: number[];
}

export interface LaneInfo {
  /** On a CPU: cores of its own; 0: it shares with the other lane. */
  cores?: number;
  /** On a CUDA device: multiprocessors that it may use beside the other lane, as read back. */
  sms?: number;
  /** Share of the device, 0 to 1, as obtained. */
  share: number;
}

export interface ModelDevice {
  id: string;
  name: string;
  /** Instruction set in use; architecture of a CUDA device, as in "sm_90". */
  isa: string;
  /** How lanes share the device, as obtained. */
  partition: Exclude<PartitionOption, "auto">;
  /** Why better partitions were not to be had, best first; and what else keeps the lanes from running side by side. */
  partitionNotes: string[];
  lanes: { prefill: LaneInfo; decode: LaneInfo };
  /** Bytes held. */
  memory: { weights: number; kv: number; activations: number };
  /** Why this device was chosen. */
  why: string;
}

export interface LaneStats {
  /** Time spent computing. */
  busyMs: number;
  steps: number;
}

/** What was asked for, what is in use, and why. */
export interface ScheduleInUse {
  asked: ScheduleOption;
  used: Exclude<ScheduleOption, "auto">;
  why: string;
}

export interface ModelStats {
  /** Requests that wait for pages or for a place. */
  waiting: number;
  running: number;
  /** Sequences kept by `prefill`. */
  held: number;
  /** Pages of the KV cache; total = free + used + cached. */
  pages: { total: number; free: number; used: number; cached: number };
  promptTokens: number;
  generatedTokens: number;
  preemptions: number;
  lanes: { prefill: LaneStats; decode: LaneStats };
  schedule: ScheduleInUse;
  /** Now, on the clock of `timeline()`. */
  nowMs: number;
}

export interface TimelineOptions {
  /** The last steps to give. Throws `INVALID_OPTION` unless an integer of at least 1. Default: 1000. */
  steps?: number;
}

/** One step of one lane. Milliseconds since the engine began. */
export interface TimelineEvent {
  lane: "prefill" | "decode";
  phase: "prefill" | "decode";
  startMs: number;
  endMs: number;
  /** Ids of the requests that took part. */
  requests: number[];
  tokens: number;
  partition: Exclude<PartitionOption, "auto">;
  /** On a GPU that is partitioned: multiprocessors of both lanes may have had work of one of them, which went to the whole device while it worked alone
   *  and was not done when the other began. */
  sharedSms: boolean;
}

/** Memory that a model will take, computed before it is loaded. */
export interface MemoryPlan {
  weightBytes: number;
  /** KV cache: pages x pageBytes. */
  kvBytes: number;
  /** Workspaces of both lanes. */
  activationBytes: number;
  totalBytes: number;
  /** What this process may still use, cgroup limits included. */
  availableBytes: number;
  pageSize: number;
  pageBytes: number;
  pages: number;
  /** Tokens that one sequence can hold. */
  maxModelLen: number;
  /** Sequences of maxModelLen tokens that the cache holds at once. */
  fullSequences: number;
}

/** What `splitwiser inspect` prints: the model, the device and the memory plan, nothing loaded. */
export interface ModelReport {
  /** Folder that was read. */
  source: string;
  config: ModelConfig;
  /** Type of the matrices in the files. */
  storedDtype: "f32" | "f16" | "bf16";
  files: { name: string; bytes: number }[];
  tokenizer: boolean;
  /** `cores` and `threads` of a CPU, `sms` of a CUDA device. */
  device: {
    id: string;
    name: string;
    isa: string;
    memoryBytes: number;
    why: string;
    cores?: number;
    threads?: number;
    sms?: number;
  };
  schedule: ScheduleInUse;
  memory: MemoryPlan;
}
