// LoadOptions and ConfigureOptions checked, and the simple rule behind schedule "auto".
import { checkDevice, type ChosenDevice, type DeviceChoice } from "./devices.js";
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
  partition: PartitionOption;
  prefillShare: number | undefined;
  maxTokenGapMs: number;
  maxBatchTokens: number;
}

export interface LoadSettings extends EngineSettings {
  device: DeviceChoice;
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
    device: checkDevice(fields["device"]),
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
    partition: optional(fields["partition"], (value) => checkWord("partition", value, partitions)) ?? current.partition,
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

/** What divides the device that was chosen. Throws `DEVICE_UNAVAILABLE` for a partition of the other kind of device. */
function partitionFor(partition: PartitionOption, device: ChosenDevice["kind"]): NativePartition | null {
  switch (partition) {
    case "auto":
      return null;
    case "none":
      return partition;
    case "cores":
      if (device === "cpu") return partition;
      throw new SplitwiserError(
        "DEVICE_UNAVAILABLE",
        'partition: "cores" divides a CPU, and the model runs on a CUDA device: use "green-context", "mps", "cta-quota", "priority", "none" or "auto"',
      );
    case "priority":
    case "cta-quota":
    case "green-context":
    case "mps":
      if (device === "cuda") return partition;
      throw new SplitwiserError(
        "DEVICE_UNAVAILABLE",
        `partition: "${partition}" divides a CUDA device, and the model runs on the CPU: use "cores", "none" or "auto"`,
      );
    default:
      return partition satisfies never;
  }
}

/** What the engine's options depend on besides the settings. */
export interface EngineGround {
  device: ChosenDevice["kind"];
  /** Of the CPU. */
  threads: number;
  maxSequences: number;
}

/** Until the engine has a performance model: two lanes where both can run at once and gaps between tokens matter. */
export function resolveSchedule(settings: EngineSettings, { device, threads }: EngineGround): ScheduleInUse {
  const { schedule, maxTokenGapMs } = settings;
  if (schedule !== "auto") return { asked: schedule, used: schedule, why: `"${schedule}" was asked for` };
  if (device === "cpu" && threads < 2) {
    return { asked: "auto", used: "chunked", why: "one thread: two lanes could not have cores of their own" };
  }
  if (maxTokenGapMs === Infinity) {
    return { asked: "auto", used: "chunked", why: "maxTokenGapMs is Infinity: only throughput matters" };
  }
  const lanes = device === "cpu" ? `${threads} threads` : "two streams";
  return {
    asked: "auto",
    used: "split",
    why: `${lanes} and maxTokenGapMs ${maxTokenGapMs}: two lanes keep prompts from stopping running requests`,
  };
}

export function nativeEngineOptions(settings: EngineSettings, ground: EngineGround): NativeEngineOptions {
  return {
    schedule: resolveSchedule(settings, ground).used,
    partition: partitionFor(settings.partition, ground.device),
    prefillShare: settings.prefillShare ?? null,
    maxSequences: ground.maxSequences,
    maxBatchTokens: settings.maxBatchTokens,
  };
}
