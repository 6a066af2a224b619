// The public types, one file a concern in types/.
export type {
  CacheType,
  ConfigureOptions,
  DeviceOption,
  LoadOptions,
  LogLevel,
  LogRecord,
  PartitionOption,
  Progress,
  ScheduleOption,
  StorageOption,
} from "./types/load.js";
export type {
  GenerateOptions,
  PrefillOptions,
  Prompt,
  SequenceDecodeOptions,
  TokenIds,
} from "./types/generate.js";
export type {
  Completion,
  CompletionStream,
  Delta,
  FinishReason,
  Logits,
  PhaseSpan,
  RequestTiming,
  TokenAlternative,
  TokenLogprob,
} from "./types/result.js";
export type {
  DeviceInfo,
  LaneInfo,
  LaneStats,
  MemoryPlan,
  ModelConfig,
  ModelDevice,
  ModelReport,
  ModelStats,
  ScheduleInUse,
  TimelineEvent,
  TimelineOptions,
} from "./types/model.js";
export type { DecodeTextOptions, EncodeOptions, Tokenizer } from "./types/tokenizer.js";
