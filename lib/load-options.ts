// LoadOptions and ConfigureOptions checked, and the simple rule behind schedule "auto".
import { cudaReason } from "./devices.js";
import { SplitwiserError } from "./errors.js";
import type { NativeEngineOptions, NativePartition } from "./native.js";
import type {
  CacheType,
  ConfigureOptions,
  LoadOptions,
  LogRecord,
  PartitionOption,
  Progress,
  ScheduleInUse,
  ScheduleOption,
  StorageOption,
} from "./types.js";
import {
  checkFields,
  checkFunction,
  checkInteger,
  checkNumber,
  checkSignal,
  checkWord,
  invalidOption,
  optional,
  type Fields,
} from "./validate.js";

const configureNames = [
  "schedule",
  "partition",
  "prefillShare",
  "maxTokenGapMs",
  "maxBatchTokens",
] as const satisfies readonly (keyof ConfigureOptions)[];
const loadNames = [
  ...configureNames,
  "device",
  "dtype",
  "kvCacheType",
  "maxSequences",
  "maxModelLen",
  "pageSize",
  "kvCacheBytes",
  "threads",
  "onProgress",
  "onLog",
  "signal",
] as const satisfies readonly (keyof LoadOptions)[];

const schedules = ["sequential", "chunked", "split", "auto"] as const;
const partitions = ["none", "priority", "cta-quota", "green-context", "mps", "cores", "auto"] as const;
const types = ["auto", "f32", "f16", "bf16"] as const;

/** What `configure` can change. */
export interface EngineSettings {
  schedule: ScheduleOption;
  partition: "auto" | NativePartition;
  prefillShare: number | undefined;
  maxTokenGapMs: number;
  maxBatchTokens: number;
}

export interface LoadSettings extends EngineSettings {
  /** Why the CPU. */
  deviceWhy: string;
  dtype: StorageOption;
  kvCacheType: CacheType;
  maxSequences: number;
  maxModelLen: number | undefined;
  pageSize: number;
  kvCacheBytes: number | undefined;
  threads: number | undefined;
  onProgress: ((progress: Progress) => void) | undefined;
  onLog: ((record: LogRecord) => void) | undefined;
  signal: AbortSignal | undefined;
}

const defaultEngine: EngineSettings = {
  schedule: "auto",
  partition: "auto",
  prefillShare: undefined,
  maxTokenGapMs: 250,
  maxBatchTokens: 512,
};

export function checkConfigureOptions(options: unknown, current: EngineSettings): EngineSettings {
  return engineSettings(checkFields("configure options", options, configureNames), current);
}

export function checkLoadOptions(options: unknown): LoadSettings {
  const fields = checkFields("load options", options, loadNames);
  return {
    ...engineSettings(fields, defaultEngine),
    deviceWhy: checkDevice(fields["device"]),
    dtype: optional(fields["dtype"], (value) => checkWord("dtype", value, types)) ?? "auto",
    kvCacheType: optional(fields["kvCacheType"], (value) => checkWord("kvCacheType", value, types)) ?? "auto",
    maxSequences: integer(fields, "maxSequences", 65536) ?? 64,
    maxModelLen: integer(fields, "maxModelLen", 2 ** 31 - 1),
    pageSize: optional(fields["pageSize"], checkPageSize) ?? 16,
    kvCacheBytes: integer(fields, "kvCacheBytes", Number.MAX_SAFE_INTEGER),
    threads: integer(fields, "threads", 1024),
    onProgress: optional(fields["onProgress"], (value) => checkFunction<(progress: Progress) => void>("onProgress", value)),
    onLog: optional(fields["onLog"], (value) => checkFunction<(record: LogRecord) => void>("onLog", value)),
    signal: optional(fields["signal"], (value) => checkSignal("signal", value)),
  };
}

function engineSettings(fields: Fields, current: EngineSettings): EngineSettings {
  return {
    schedule: optional(fields["schedule"], (value) => checkWord("schedule", value, schedules)) ?? current.schedule,
    partition: optional(fields["partition"], checkPartition) ?? current.partition,
    prefillShare:
      optional(fields["prefillShare"], (value) => checkNumber("prefillShare", value, { above: 0, below: 1 })) ??
      current.prefillShare,
    maxTokenGapMs: optional(fields["maxTokenGapMs"], checkTokenGap) ?? current.maxTokenGapMs,
    maxBatchTokens: integer(fields, "maxBatchTokens", 2 ** 20) ?? current.maxBatchTokens,
  };
}

function integer(fields: Fields, name: string, max: number): number | undefined {
  return optional(fields[name], (value) => checkInteger(name, value, { min: 1, max }));
}

function checkTokenGap(value: unknown): number {
  return value === Infinity ? Infinity : checkNumber("maxTokenGapMs", value, { above: 0 });
}

function checkPageSize(value: unknown): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < 16 || value > 1024 || value % 16 !== 0) {
    throw invalidOption("pageSize", "a multiple of 16 from 16 to 1024", value);
  }
  return value;
}

function checkPartition(value: unknown): "auto" | NativePartition {
  const word: PartitionOption = checkWord("partition", value, partitions);
  switch (word) {
    case "auto":
    case "none":
    case "cores":
      return word;
    case "priority":
    case "cta-quota":
    case "green-context":
    case "mps":
      throw new SplitwiserError(
        "DEVICE_UNAVAILABLE",
        `partition: "${word}" divides a CUDA device, and the model runs on the CPU: use "cores", "none" or "auto"`,
      );
    default:
      return word satisfies never;
  }
}

function checkDevice(value: unknown): string {
  if (value === undefined || value === "auto") return '"auto": the CPU is the only device that this version computes on';
  if (value === "cpu") return '"cpu" was asked for';
  if (typeof value === "string" && /^cuda(:\d+)?$/.test(value)) {
    throw new SplitwiserError("DEVICE_UNAVAILABLE", `device: "${value}" is not available: ${cudaReason}`);
  }
  if (typeof value === "string" && /^virtual(:.+)?$/.test(value)) {
    throw new SplitwiserError(
      "DEVICE_UNAVAILABLE",
      `device: "${value}" is not available: this version has no virtual device yet: use "cpu" or "auto"`,
    );
  }
  throw invalidOption("device", '"auto", "cpu", "cuda", "cuda:N" or "virtual"', value);
}

/** Until the engine has a performance model: two lanes where they can have cores of their own and gaps between tokens matter. */
export function resolveSchedule(settings: EngineSettings, threads: number): ScheduleInUse {
  const { schedule, maxTokenGapMs } = settings;
  if (schedule !== "auto") return { asked: schedule, used: schedule, why: `"${schedule}" was asked for` };
  if (threads < 2) {
    return { asked: "auto", used: "chunked", why: "one thread: two lanes could not have cores of their own" };
  }
  if (maxTokenGapMs === Infinity) {
    return { asked: "auto", used: "chunked", why: "maxTokenGapMs is Infinity: only throughput matters" };
  }
  return {
    asked: "auto",
    used: "split",
    why: `${threads} threads and maxTokenGapMs ${maxTokenGapMs}: two lanes keep prompts from stopping running requests`,
  };
}

export function nativeEngineOptions(settings: EngineSettings, maxSequences: number, threads: number): NativeEngineOptions {
  return {
    schedule: resolveSchedule(settings, threads).used,
    partition: settings.partition === "auto" ? null : settings.partition,
    prefillShare: settings.prefillShare ?? null,
    maxSequences,
    maxBatchTokens: settings.maxBatchTokens,
  };
}
