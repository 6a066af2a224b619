// An engine over the fake device, and what its events told. The end of a harness checks what must always hold: no
// hazard, no event out of order, every request ended, every page free.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>

#include "check.hpp"
#include "engine/engine.hpp"
#include "fake_backend.hpp"
#include "fake_model.hpp"

namespace splitwiser::fake {

struct ChoiceOutcome {
  std::vector<std::int32_t> tokens;
  std::string text;
  std::vector<TokenLogprob> logprobs;
  FinishReason finish_reason = FinishReason::abort;
  StopReason stop_reason;
  Timing timing;
};

struct Outcome {
  std::vector<ChoiceOutcome> choices;
  EndEvent end;

  [[nodiscard]] bool ok() const { return !end.error; }
  // Or none, for a request that ended well.
  [[nodiscard]] std::optional<ErrorCode> error() const { return end.error ? std::optional(end.error->code) : std::nullopt; }
};

// Collects events and holds them to their order: tokens of a choice, its end, the request's end, and nothing more.
class CollectingSink final : public EventSink {
 public:
  void deliver(std::vector<EngineEvent> events) override;

  // Blocks; fails the test if the event has not come after a minute (a deadlock).
  [[nodiscard]] Outcome wait(std::uint64_t request);
  [[nodiscard]] ConfiguredEvent wait_configured(std::uint64_t configuration);
  void wait_for_tokens(std::uint64_t request, std::size_t count);
  [[nodiscard]] bool ended(std::uint64_t request) const;
  [[nodiscard]] std::vector<std::string> violations() const;
  // Ids whose end has come, in that order.
  [[nodiscard]] std::vector<std::uint64_t> order_of_ends() const;

 private:
  struct Seen {
    std::map<std::uint32_t, ChoiceOutcome> choices;
    std::map<std::uint32_t, int> finished;
    std::optional<EndEvent> end;
  };
  void take(EngineEvent& event);
  template <typename Ready>
  void wait_until(std::unique_lock<std::mutex>& lock, Ready ready, const std::string& what);

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::uint64_t, Seen> requests_;
  std::map<std::uint64_t, ConfiguredEvent> configured_;
  std::vector<std::uint64_t> ends_;
  std::vector<std::string> violations_;
  std::atomic<bool> delivering_{false};
};

struct Setup {
  Schedule schedule = Schedule::split;
  std::int64_t max_batch_tokens = 64;
  std::int64_t max_sequences = 64;
  int page_size = 16;
  std::int64_t pages = 256;
  std::int64_t max_model_len = 512;
  Form form = Form::norms_first;
  std::uint64_t seed = 1;
  int steps_in_flight = 1;
  std::shared_ptr<const Vocabulary> vocabulary = nullptr;
};

class Harness {
 public:
  explicit Harness(const Setup& setup);
  // Shuts the engine down and makes the checks.
  ~Harness();
  Harness(const Harness&) = delete;
  Harness& operator=(const Harness&) = delete;

  [[nodiscard]] Engine& engine() { return *engine_; }
  [[nodiscard]] FakeBackend& backend() { return *backend_; }
  [[nodiscard]] FakeLane& lane(Phase phase) { return backend_->lane(phase); }
  [[nodiscard]] CollectingSink& sink() { return sink_; }
  [[nodiscard]] const ModelSpec& spec() const { return spec_; }
  [[nodiscard]] const HazardLog& hazards() const { return *hazards_; }

  std::uint64_t submit(const RequestSpec& spec) { return engine_->submit(spec); }
  [[nodiscard]] Outcome wait(std::uint64_t request) { return sink_.wait(request); }
  [[nodiscard]] Outcome run(const RequestSpec& spec) { return wait(submit(spec)); }
  // A prompt, computed and held: the sequence's handle.
  [[nodiscard]] std::uint64_t hold(const std::vector<std::int32_t>& tokens);
  [[nodiscard]] ConfiguredEvent configure(const EngineOptions& options) { return sink_.wait_configured(engine_->configure(options)); }
  [[nodiscard]] EngineOptions options() const { return options_; }
  [[nodiscard]] PageCounts pages() const { return engine_->stats().pages; }

 private:
  ModelSpec spec_;
  EngineOptions options_;
  std::shared_ptr<HazardLog> hazards_ = std::make_shared<HazardLog>();
  FakeBackend* backend_ = nullptr;
  CollectingSink sink_;
  std::unique_ptr<Engine> engine_;
};

// Greedy, no end ids.
[[nodiscard]] RequestSpec prompt_request(std::vector<std::int32_t> tokens, std::int64_t max_tokens);
// More tokens for a held sequence, then generation if max_tokens > 0.
[[nodiscard]] RequestSpec held_request(std::uint64_t sequence, std::vector<std::int32_t> tokens, std::int64_t max_tokens);

// Checks that a request ended well with the tokens that the model gives after `past`.
void check_outcome(const Outcome& outcome, const ModelSpec& spec, const std::vector<std::int32_t>& past,
                   const GenerateSpec& generate);

[[nodiscard]] inline std::vector<std::int32_t> joined(std::vector<std::int32_t> a, const std::vector<std::int32_t>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

}  // namespace splitwiser::fake
