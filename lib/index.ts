// The public face of the library.
export { devices } from "./devices.js";
export { errorCodes, SplitwiserError, type ErrorCode } from "./errors.js";
export { inspectModel } from "./inspect.js";
export { loadModel } from "./load.js";
export type { Model } from "./model.js";
export type { Sequence } from "./sequence.js";
export type {
  CacheType,
  Completion,
  CompletionStream,
  ConfigureOptions,
  DecodeTextOptions,
  Delta,
  DeviceInfo,
  DeviceOption,
  EncodeOptions,
  FinishReason,
  GenerateOptions,
  LaneInfo,
  LaneStats,
  LoadOptions,
  LogLevel,
  Logits,
  LogRecord,
  MemoryPlan,
  ModelConfig,
  ModelDevice,
  ModelReport,
  ModelStats,
  PartitionOption,
  PhaseSpan,
  PrefillOptions,
  Progress,
  Prompt,
  RequestTiming,
  ScheduleInUse,
  ScheduleOption,
  SequenceDecodeOptions,
  StorageOption,
  TimelineEvent,
  TimelineOptions,
  TokenAlternative,
  TokenIds,
  Tokenizer,
  TokenLogprob,
} from "./types.js";
