// What crosses the engine's face: options, requests, events. lib/native.ts has the same shapes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "backend/backend.hpp"
#include "support/error.hpp"

namespace splitwiser {

enum class Schedule : std::uint8_t { sequential, chunked, split };
[[nodiscard]] constexpr const char* name_of(Schedule schedule) {
  return schedule == Schedule::sequential ? "sequential" : schedule == Schedule::chunked ? "chunked" : "split";
}

struct EngineOptions {
  Schedule schedule = Schedule::chunked;
  PartitionRequest partition;
  std::int64_t max_sequences = 64;      // decoded together, prompts in progress included
  std::int64_t max_batch_tokens = 512;  // rows of one step
};

struct GenerateSpec {
  std::int64_t max_tokens = 128;
  std::int64_t min_tokens = 0;
  SamplingParams sampling;
  std::vector<TokenBias> bias;
  std::vector<std::string> stop;
  std::vector<std::int32_t> stop_token_ids;
  std::vector<std::int32_t> end_token_ids;
  std::uint64_t seed = 0;
  std::uint32_t choices = 1;
  std::int32_t logprobs = -1;  // top N, -1: none
};

// One call: tokens to append to a sequence (new or held), then generation if wanted.
struct RequestSpec {
  std::uint64_t sequence = 0;  // 0: a new one
  std::vector<std::int32_t> tokens;
  bool keep = false;           // the sequence stays when the request ends well
  std::optional<GenerateSpec> generate;
  bool logits = false;         // of every appended token
  bool last_logits = false;    // of the last position
  std::int32_t prompt_logprobs = -1;
  std::int32_t priority = 0;
  double deadline_ms = 0;      // after submit; 0: none
};

enum class FinishReason : std::uint8_t { stop, length, abort };
[[nodiscard]] constexpr const char* name_of(FinishReason reason) {
  return reason == FinishReason::stop ? "stop" : reason == FinishReason::length ? "length" : "abort";
}

enum class SpanPhase : std::uint8_t { queued, prefill, decode, preempted };

struct Span {
  SpanPhase phase;
  double start_ms;
  double end_ms;
  std::optional<Phase> lane;
  std::int64_t tokens;
};

// Milliseconds since the engine began, one monotonic clock.
struct Timing {
  double submitted_ms = 0;
  std::optional<double> started_ms;  // first work on a lane
  double end_ms = 0;
  std::vector<double> token_ms;
  std::vector<Span> spans;
  std::int64_t prefill_tokens = 0;
  std::int64_t decode_tokens = 0;
  std::int64_t preemptions = 0;
};

struct TokenLogprob {
  std::int32_t token;
  float logprob;
  std::vector<TokenLogprobValue> top;
};

struct TokensEvent {
  std::uint64_t request;
  std::uint32_t choice;
  std::vector<std::int32_t> tokens;
  std::string text;                     // UTF-8, complete characters only
  std::vector<TokenLogprob> logprobs;   // empty where none were asked for
};

using StopReason = std::variant<std::monostate, std::int32_t, std::string>;

struct ChoiceEvent {
  std::uint64_t request;
  std::uint32_t choice;
  FinishReason finish_reason = FinishReason::abort;
  StopReason stop_reason;
  Timing timing;
};

struct Failure {
  ErrorCode code;
  std::string message;
};

// The last event of a request.
struct EndEvent {
  std::uint64_t request;
  std::optional<Failure> error;
  std::uint64_t sequence = 0;  // handle of the held sequence
  std::int64_t prompt_tokens = 0;
  std::int64_t cached_tokens = 0;
  Timing timing;               // of the request itself (its prompt); choices carry their own
  std::optional<std::vector<std::optional<TokenLogprob>>> prompt_logprobs;
  std::optional<std::vector<float>> logits;
};

// A call of configure() has been applied, or refused.
struct ConfiguredEvent {
  std::uint64_t configuration;
  std::optional<Failure> error;
};

using EngineEvent = std::variant<TokensEvent, ChoiceEvent, EndEvent, ConfiguredEvent>;

// Called from lanes' threads and from the caller's, never under the engine's lock, one call at a time per batch order.
class EventSink {
 public:
  virtual ~EventSink() = default;
  virtual void deliver(std::vector<EngineEvent> events) = 0;
};

struct PageCounts {
  std::int64_t total = 0;
  std::int64_t free = 0;
  std::int64_t used = 0;
  std::int64_t cached = 0;
};

struct LaneStats {
  double busy_ms = 0;
  std::int64_t steps = 0;
};

struct EngineStats {
  std::int64_t waiting = 0;
  std::int64_t running = 0;
  std::int64_t held = 0;
  PageCounts pages;
  std::int64_t prompt_tokens = 0;
  std::int64_t generated_tokens = 0;
  std::int64_t preemptions = 0;
  LaneStats lanes[kPhases];
  Schedule schedule = Schedule::chunked;
  double now_ms = 0;
};

struct EngineInfo {
  std::string device;
  Partition partition = Partition::none;
  std::vector<std::string> partition_notes;  // why better ones were not to be had
  LaneInfo lanes[kPhases];
  std::size_t weight_bytes = 0;
  std::size_t kv_bytes = 0;
  std::size_t activation_bytes = 0;
  std::int64_t parameters = 0;
};

struct TimelineEvent {
  Phase lane;
  Phase phase;
  double start_ms;
  double end_ms;
  std::vector<std::uint64_t> requests;
  std::int64_t tokens;
  Partition partition;
  bool shared_sms;  // Lane::take_shared_sms()
};

}  // namespace splitwiser
