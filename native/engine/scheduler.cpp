// What runs next. Everything here holds the lock.
#include <algorithm>

#include "engine/engine_impl.hpp"
#include "engine/generation.hpp"
#include "engine/policy.hpp"
#include "engine/step_builder.hpp"

namespace splitwiser {

void Engine::Impl::expire_deadlines(double now) {
  std::vector<RequestPtr> expired;
  for (const auto& [id, request] : requests_) {
    if (request->deadline_at_ms > 0 && now >= request->deadline_at_ms && !request->failure) expired.push_back(request);
  }
  for (const RequestPtr& request : expired) {
    cancel(request, {ErrorCode::deadline, "the request did not end within its deadlineMs"});
  }
}

std::optional<double> Engine::Impl::next_deadline() const {
  std::optional<double> next;
  for (const auto& [id, request] : requests_) {
    if (request->deadline_at_ms > 0 && !request->failure && (!next || request->deadline_at_ms < *next)) {
      next = request->deadline_at_ms;
    }
  }
  return next;
}

std::vector<Engine::Impl::RequestPtr> Engine::Impl::ranked(RequestState state, double now) const {
  std::vector<RequestPtr> out;
  for (const auto& [id, request] : requests_) {
    if (request->state == state && !request->failure) out.push_back(request);
  }
  const auto rank = [now](const Request& request) {
    return prompt_rank(request.prompt_tokens - request.first_token, now - request.timing.submitted_ms);
  };
  std::stable_sort(out.begin(), out.end(), [&](const RequestPtr& a, const RequestPtr& b) {
    if (a->spec.priority != b->spec.priority) return a->spec.priority > b->spec.priority;
    return rank(*a) < rank(*b);
  });
  return out;
}

void Engine::Impl::admit() {
  if (slots_used_ >= options_.max_sequences) return;
  // In order, and none past one that does not fit yet: a large request is not starved by small ones.
  for (const RequestPtr& request : ranked(RequestState::waiting, now_ms())) {
    const std::int64_t choices = request->choice_count();
    // Alone, a request may exceed a bound that configure() lowered after it was submitted.
    if (slots_used_ > 0 && slots_used_ + choices > options_.max_sequences) return;
    const std::int64_t pages = pages_to_reserve(*request);
    if (!allocator_.reserve(pages)) return;
    request->reserved = pages;
    slots_used_ += choices;
    request->state = RequestState::prefill;
    const std::size_t rows = request->spec.logits ? request->spec.tokens.size() : request->spec.last_logits ? 1 : 0;
    try {
      request->logits.resize(rows * std::size_t(decoder_->spec().vocab));
    } catch (const std::bad_alloc&) {
      cancel(request, {ErrorCode::out_of_memory, "no memory is left for the logits of " + std::to_string(rows) +
                                                     " tokens: ask for those of fewer tokens at a time"});
      continue;
    }
    if (!request->spec.generate) continue;
    request->choices.resize(std::size_t(choices));
    for (std::size_t i = 0; i < request->choices.size(); i++) {
      Choice& choice = request->choices[i];
      choice.index = std::uint32_t(i);
      if (vocabulary_) choice.text.emplace(vocabulary_, request->spec.generate->stop);
      if (!request->penalised()) continue;
      for (const std::int32_t token : request->sequence->tokens) choice.count(token, true);
    }
  }
}

// Choices whose next token can be computed now: those whose last token is known, and those whose last token the step
// that this lane issued last is drawing, when the device can take it from there.
std::vector<Engine::Impl::Running> Engine::Impl::decodable(Phase lane) const {
  const std::deque<Step>& flying = lanes_[int(lane)].flying;
  std::vector<Running> running;
  for (const auto& [id, request] : requests_) {
    if (request->state != RequestState::decode || request->failure) continue;
    for (Choice& choice : request->choices) {
      if (choice.finished) continue;
      const std::int64_t ahead = choice.steps_in_flight;
      // A choice in flight belongs to the thread of its lane: look no further from another.
      if (ahead > 0 && (flying.empty() || !flying.back().plain_decode || choice.last_step != flying.back().number ||
                        choice.generated + ahead >= request->spec.generate->max_tokens)) {
        continue;
      }
      if (!flying.empty() && !decodes_plainly(*request, choice, ahead)) continue;
      running.push_back({request, &choice});
    }
  }
  return running;
}

std::optional<Step> Engine::Impl::next_step(Phase lane, double now) {
  if (lost_) return std::nullopt;
  admit();
  std::vector<RequestPtr> prompts = ranked(RequestState::prefill, now);
  std::erase_if(prompts, [](const RequestPtr& request) { return request->steps_in_flight > 0; });
  // A prompt that has begun goes on before another begins: at most one is half done.
  std::stable_partition(prompts.begin(), prompts.end(),
                        [](const RequestPtr& request) { return request->timing.started_ms.has_value(); });
  std::int64_t prompt_tokens = 0;
  for (const RequestPtr& request : prompts) prompt_tokens += request->sequence->pending();

  std::vector<Running> running = decodable(lane);
  const StepBudget budget = decide({
      .schedule = options_.schedule,
      .lane = lane,
      .other_lane_busy = lanes_[1 - int(lane)].busy,
      .decodable = std::int64_t(running.size()),
      .prompt_tokens = prompt_tokens,
      .max_batch_tokens = options_.max_batch_tokens,
  });
  // Prompts join when the steps in flight are done: their rows and logits share the lane's memory.
  if (!lanes_[int(lane)].flying.empty() && budget.prompt_tokens > 0) return std::nullopt;
  StepBuilder builder(lane, ++step_count_, kv_shape_.page_size, allocator_);
  if (budget.decode_rows < std::int64_t(running.size())) {
    std::stable_sort(running.begin(), running.end(),
                     [](const Running& a, const Running& b) { return a.choice->last_step < b.choice->last_step; });
  }
  for (std::int64_t i = 0; i < budget.decode_rows; i++) {
    const Running& next = running[std::size_t(i)];
    builder.add_decode(next.request, *next.choice);
  }
  std::int64_t left = budget.prompt_tokens;
  for (const RequestPtr& request : prompts) {
    if (left == 0) break;
    const std::int64_t tokens = std::min(left, request->sequence->pending());
    if (!request->timing.started_ms) {
      request->timing.started_ms = now;
      request->timing.spans.push_back({SpanPhase::queued, request->timing.submitted_ms, now, std::nullopt, 0});
    }
    builder.add_prompt(request, tokens);
    left -= tokens;
  }
  if (builder.empty()) return std::nullopt;
  Step step = builder.take();
  step.start_ms = now;
  step.plain_decode = most_in_flight_ > 1 && lane == Phase::decode && budget.prompt_tokens == 0 &&
                      std::int64_t(step.segments.size()) <= lanes_[int(lane)].workspace->max_logit_rows() &&
                      std::ranges::all_of(step.segments, [](const Segment& segment) {
                        return segment.choice && decodes_plainly(*segment.request, *segment.choice, segment.choice->steps_in_flight - 1);
                      });
  return step;
}

void Engine::Impl::apply_configurations() {
  while (!configurations_.empty()) {
    const Configuration configuration = std::move(configurations_.front());
    configurations_.pop_front();
    std::optional<Failure> error;
    try {
      // All that may be refused before anything changes: a refusal leaves the engine as it was.
      Workspaces made = make_workspaces(configuration.options.max_batch_tokens);
      partition_ = backend_->configure(configuration.options.partition);
      install_workspaces(std::move(made));
      prepare_decode();
      read_lane_info();
      options_ = configuration.options;
    } catch (const Error& refused) {
      error = Failure{refused.code(), refused.what()};
    } catch (const std::bad_alloc&) {
      error = Failure{ErrorCode::out_of_memory, "no memory is left for a larger step: lower maxBatchTokens or free memory"};
    }
    outbox_.push_back(ConfiguredEvent{configuration.id, error});
  }
  notify();
}

}  // namespace splitwiser
