#include "engine_harness.hpp"

#include <chrono>

namespace splitwiser::fake {

// ---- events ----------------------------------------------------------------------------------

void CollectingSink::deliver(std::vector<EngineEvent> events) {
  const bool twice = delivering_.exchange(true);
  {
    const std::lock_guard lock(mutex_);
    if (twice) violations_.push_back("two batches of events are delivered at once");
    if (events.empty()) violations_.push_back("a batch without events");
    for (EngineEvent& event : events) take(event);
    changed_.notify_all();
  }
  delivering_ = false;
}

void CollectingSink::take(EngineEvent& event) {
  const auto violation = [this](std::uint64_t request, const std::string& what) {
    violations_.push_back("request " + std::to_string(request) + ": " + what);
  };
  if (auto* tokens = std::get_if<TokensEvent>(&event)) {
    Seen& seen = requests_[tokens->request];
    if (seen.end) violation(tokens->request, "tokens after the end");
    if (seen.finished[tokens->choice] > 0) violation(tokens->request, "tokens after the choice's end");
    ChoiceOutcome& choice = seen.choices[tokens->choice];
    choice.tokens.insert(choice.tokens.end(), tokens->tokens.begin(), tokens->tokens.end());
    choice.text += tokens->text;
    for (TokenLogprob& logprob : tokens->logprobs) choice.logprobs.push_back(std::move(logprob));
  } else if (auto* finished = std::get_if<ChoiceEvent>(&event)) {
    Seen& seen = requests_[finished->request];
    if (seen.end) violation(finished->request, "a choice ends after the request");
    if (++seen.finished[finished->choice] > 1) violation(finished->request, "a choice ends twice");
    ChoiceOutcome& choice = seen.choices[finished->choice];
    choice.finish_reason = finished->finish_reason;
    choice.stop_reason = finished->stop_reason;
    choice.timing = finished->timing;
  } else if (auto* end = std::get_if<EndEvent>(&event)) {
    Seen& seen = requests_[end->request];
    if (seen.end) violation(end->request, "two ends");
    for (const auto& [index, choice] : seen.choices) {
      if (seen.finished[index] == 0) violation(end->request, "the end comes before a choice's");
    }
    seen.end = std::move(*end);
    ends_.push_back(seen.end->request);
  } else {
    const auto& configured = std::get<ConfiguredEvent>(event);
    if (!configured_.emplace(configured.configuration, configured).second) violations_.push_back("a configuration is answered twice");
  }
}

template <typename Ready>
void CollectingSink::wait_until(std::unique_lock<std::mutex>& lock, Ready ready, const std::string& what) {
  if (changed_.wait_for(lock, std::chrono::minutes(1), ready)) return;
  check::record(false, __FILE__, __LINE__, what + " has not come: a deadlock");
  throw check::Stop{};
}

Outcome CollectingSink::wait(std::uint64_t request) {
  std::unique_lock lock(mutex_);
  wait_until(lock, [&] { return requests_[request].end.has_value(); }, "the end of request " + std::to_string(request));
  const Seen& seen = requests_[request];
  Outcome outcome{.choices = {}, .end = *seen.end};
  for (const auto& [index, choice] : seen.choices) {
    CHECK_EQ(index, outcome.choices.size());
    outcome.choices.push_back(choice);
  }
  return outcome;
}

ConfiguredEvent CollectingSink::wait_configured(std::uint64_t configuration) {
  std::unique_lock lock(mutex_);
  wait_until(lock, [&] { return configured_.contains(configuration); }, "the answer to configure()");
  return configured_.at(configuration);
}

void CollectingSink::wait_for_tokens(std::uint64_t request, std::size_t count) {
  std::unique_lock lock(mutex_);
  wait_until(lock, [&] {
    std::size_t seen = 0;
    for (const auto& [index, choice] : requests_[request].choices) seen += choice.tokens.size();
    return seen >= count;
  }, "token " + std::to_string(count) + " of request " + std::to_string(request));
}

bool CollectingSink::ended(std::uint64_t request) const {
  const std::lock_guard lock(mutex_);
  const auto found = requests_.find(request);
  return found != requests_.end() && found->second.end;
}

std::vector<std::string> CollectingSink::violations() const {
  const std::lock_guard lock(mutex_);
  return violations_;
}

std::vector<std::uint64_t> CollectingSink::order_of_ends() const {
  const std::lock_guard lock(mutex_);
  return ends_;
}

// ---- harness ---------------------------------------------------------------------------------

Harness::Harness(const Setup& setup) : spec_(make_spec(setup.form)) {
  options_.schedule = setup.schedule;
  options_.max_batch_tokens = setup.max_batch_tokens;
  options_.max_sequences = setup.max_sequences;
  auto backend = std::make_unique<FakeBackend>(setup.seed, hazards_, setup.steps_in_flight);
  backend_ = backend.get();
  EngineParts parts;
  parts.backend = std::move(backend);
  parts.decoder = std::make_unique<Decoder>(spec_, make_weights(spec_));
  parts.vocabulary = setup.vocabulary;
  parts.kv = {spec_.layers, spec_.kv_heads, spec_.head_dim, setup.page_size, setup.pages, DType::f32};
  parts.max_model_len = setup.max_model_len;
  engine_ = std::make_unique<Engine>(std::move(parts), options_, sink_);
}

Harness::~Harness() {
  for (const Phase phase : {Phase::prefill, Phase::decode}) {
    lane(phase).resume();
    lane(phase).resume_issue();
  }
  engine_->shutdown();
  const EngineStats stats = engine_->stats();
  CHECK_EQ(stats.waiting + stats.running, 0);
  CHECK_EQ(stats.held, 0);
  CHECK_EQ(stats.pages.free, stats.pages.total);
  CHECK_EQ(stats.pages.used, 0);
  engine_.reset();
  CHECK_EQ(sink_.violations(), std::vector<std::string>{});
  CHECK_EQ(hazards_->list(), std::vector<std::string>{});
}

std::uint64_t Harness::hold(const std::vector<std::int32_t>& tokens) {
  RequestSpec spec;
  spec.tokens = tokens;
  spec.keep = true;
  const Outcome outcome = run(spec);
  REQUIRE(outcome.ok());
  REQUIRE(outcome.end.sequence != 0);
  return outcome.end.sequence;
}

RequestSpec prompt_request(std::vector<std::int32_t> tokens, std::int64_t max_tokens) {
  return held_request(0, std::move(tokens), max_tokens);
}

RequestSpec held_request(std::uint64_t sequence, std::vector<std::int32_t> tokens, std::int64_t max_tokens) {
  RequestSpec spec;
  spec.sequence = sequence;
  spec.tokens = std::move(tokens);
  if (max_tokens > 0) {
    spec.generate.emplace();
    spec.generate->max_tokens = max_tokens;
  }
  return spec;
}

void check_outcome(const Outcome& outcome, const ModelSpec& spec, const std::vector<std::int32_t>& past,
                   const GenerateSpec& generate) {
  CHECK(outcome.ok());
  CHECK_EQ(outcome.choices.size(), generate.choices);
  for (std::size_t i = 0; i < outcome.choices.size(); i++) {
    CHECK_EQ(outcome.choices[i].tokens, reference_tokens(spec, past, generate, std::uint32_t(i)));
  }
}

}  // namespace splitwiser::fake
