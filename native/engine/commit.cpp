// What a step changes, and how requests end. Everything here holds the lock; events go to the outbox.
#include <algorithm>

#include "engine/engine_impl.hpp"

namespace splitwiser {

void Engine::Impl::commit(Step& step) {
  LaneState& lane = lanes_[int(step.lane)];
  // A step that was issued before the one ahead of it was done has run from then on.
  step.start_ms = std::max(step.start_ms, lane.last_end_ms);
  lane.last_end_ms = step.end_ms;
  LaneStats& stats = lane.stats;
  stats.busy_ms += step.end_ms - step.start_ms;
  stats.steps++;
  for (const Segment& segment : step.segments) {
    segment.request->steps_in_flight--;
    Sequence& sequence = *segment.sequence;
    if (segment.choice && --segment.choice->steps_in_flight == 0 && segment.choice->finished) drop_pages(*segment.choice);
    if (step.failure) {
      if (!segment.request->failure) segment.request->failure = step.failure;
      segment.request->cancelled.store(true, std::memory_order_relaxed);
      // The page that the step began to write is lost: a copy into it may not have been made.
      sequence.computed = std::min(sequence.computed, segment.first / kv_shape_.page_size * kv_shape_.page_size);
    } else {
      // Of an interrupted step as well: it may have copied a page.
      sequence.written = step.done;
      sequence.written_by = step.lane;
    }
  }
  for (const std::int32_t page : step.release_after) allocator_.release(page);
  if (!step.failure && !step.interrupted) {
    for (const Segment& segment : step.segments) commit_segment(step, segment);
    for (SampledToken& sample : step.sampled) commit_sample(step, sample);
    record_timeline(step);
  }
  for (const Segment& segment : step.segments) {
    const RequestPtr& request = segment.request;
    if (request->state == RequestState::ended || request->steps_in_flight > 0) continue;
    const bool all_finished = segment.request->state == RequestState::decode &&
                              std::ranges::all_of(request->choices, [](const Choice& choice) { return choice.finished; });
    const bool prompt_only = segment.ends_prompt && !request->spec.generate && !step.interrupted;
    if (request->failure || all_finished || prompt_only) end_request(request);
  }
  if (step.failure && step.failure->code == ErrorCode::device_lost) lose_device(*step.failure);
}

// Every request ends with what it has; none begins any more. CPU engines of the process live on.
void Engine::Impl::lose_device(const Failure& failure) {
  if (lost_) return;
  lost_ = failure;
  std::vector<RequestPtr> all;
  for (const auto& [id, request] : requests_) all.push_back(request);
  for (const RequestPtr& request : all) cancel(request, failure);
  for (const Configuration& configuration : configurations_) outbox_.push_back(ConfiguredEvent{configuration.id, failure});
  configurations_.clear();
  notify();
}

void Engine::Impl::commit_segment(Step& step, const Segment& segment) {
  Request& request = *segment.request;
  Sequence& sequence = *segment.sequence;
  // What was computed past the end of a choice is dropped.
  if (segment.choice && segment.choice->finished) return;
  sequence.computed += segment.tokens;
  if (segment.choice) return;

  request.timing.spans.push_back({SpanPhase::prefill, step.start_ms, step.end_ms, step.lane, segment.tokens});
  request.timing.prefill_tokens += segment.tokens;
  prompt_tokens_ += segment.tokens;
  if (!segment.ends_prompt || !request.spec.generate) return;
  request.state = RequestState::decode;
  for (Choice& choice : request.choices) {
    choice.timing = request.timing;
    choice.sequence = choice.index == 0 ? request.sequence : splitwiser::fork(*request.sequence, allocator_);
  }
}

void Engine::Impl::commit_sample(const Step& step, SampledToken& sample) {
  Choice& choice = *sample.choice;
  Request& request = *sample.request;
  generated_tokens_++;
  choice.sequence->tokens.push_back(sample.token);
  Timing& timing = choice.timing;
  if (!timing.token_ms.empty()) {
    // Decode lasts from the first token on: a span goes from the token before to this one, and grows while the lane stays.
    if (timing.spans.back().phase == SpanPhase::decode && timing.spans.back().lane == step.lane) {
      timing.spans.back().end_ms = step.end_ms;
      timing.spans.back().tokens++;
    } else {
      timing.spans.push_back({SpanPhase::decode, timing.token_ms.back(), step.end_ms, step.lane, 1});
    }
    timing.decode_tokens++;
  }
  timing.token_ms.push_back(step.end_ms);

  TokensEvent event{request.id, choice.index, {sample.token}, std::move(sample.text), {}};
  if (request.spec.generate->logprobs >= 0) event.logprobs.push_back(std::move(sample.logprob));
  outbox_.push_back(std::move(event));
  if (sample.finished) finish_choice(request, choice, sample.finish_reason, std::move(sample.stop_reason));
}

void Engine::Impl::record_timeline(const Step& step) {
  for (const Phase phase : {Phase::prefill, Phase::decode}) {
    TimelineEvent event{step.lane, phase, step.start_ms, step.end_ms, {}, 0, partition_, step.shared_sms};
    for (const Segment& segment : step.segments) {
      if (segment.phase() != phase) continue;
      event.requests.push_back(segment.request->id);
      event.tokens += segment.tokens;
    }
    if (!event.requests.empty()) timeline_.add(std::move(event));
  }
}

void Engine::Impl::finish_choice(Request& request, Choice& choice, FinishReason reason, StopReason why) {
  choice.finished = true;
  choice.timing.end_ms = now_ms();
  outbox_.push_back(ChoiceEvent{request.id, choice.index, reason, std::move(why), choice.timing});
  if (choice.steps_in_flight == 0) drop_pages(choice);
}

// Of a finished choice, when no step in flight reads or writes them any more (invariant 2).
void Engine::Impl::drop_pages(Choice& choice) {
  // Choice 0 owns the request's own sequence, which may be kept.
  if (choice.index > 0) release_pages(*choice.sequence, allocator_);
}

void Engine::Impl::cancel(const RequestPtr& request, Failure failure) {
  if (request->state == RequestState::ended) return;
  if (!request->failure) request->failure = std::move(failure);
  request->cancelled.store(true, std::memory_order_relaxed);
  // While a step runs, its pages are being read: its commit ends the request (invariant 2).
  if (request->steps_in_flight == 0) end_request(request);
}

void Engine::Impl::end_request(const RequestPtr& request) {
  const bool admitted = request->state != RequestState::waiting;
  const bool generated = request->state == RequestState::decode;
  request->state = RequestState::ended;
  request->timing.end_ms = now_ms();
  if (request->spec.generate) {
    if (request->choices.empty()) request->choices.resize(std::size_t(request->choice_count()));
    for (std::size_t i = 0; i < request->choices.size(); i++) {
      Choice& choice = request->choices[i];
      choice.index = std::uint32_t(i);
      if (choice.finished) continue;
      if (!generated) {
        choice.timing = request->timing;
        choice.sequence = i == 0 ? request->sequence : std::make_shared<Sequence>();
      }
      finish_choice(*request, choice, FinishReason::abort, {});
    }
  }

  Sequence& sequence = *request->sequence;
  sequence.request = 0;
  const bool keep = sequence.handle != 0 ? !sequence.release_when_idle : request->spec.keep && !request->failure;
  if (keep && sequence.handle == 0) {
    sequence.handle = ++last_handle_;
    held_.emplace(sequence.handle, request->sequence);
  } else if (!keep) {
    release_pages(sequence, allocator_);
    held_.erase(sequence.handle);
  }
  if (keep) trim_pages(sequence, kv_shape_.page_size, allocator_);
  if (admitted) {
    allocator_.unreserve(request->reserved);
    slots_used_ -= request->choice_count();
  }

  EndEvent end{.request = request->id, .error = request->failure, .timing = request->timing,
               .prompt_logprobs = std::nullopt, .logits = std::nullopt};
  end.sequence = keep ? sequence.handle : 0;
  end.prompt_tokens = request->prompt_tokens;
  if (request->spec.prompt_logprobs >= 0) {
    // One for each token of the prompt, also where the last ones were not computed or there is only the first.
    request->prompt_logprobs.resize(std::max(request->prompt_logprobs.size(), std::size_t(request->prompt_tokens)));
    end.prompt_logprobs = std::move(request->prompt_logprobs);
  }
  if (request->spec.logits || request->spec.last_logits) end.logits = std::move(request->logits);
  outbox_.push_back(std::move(end));
  requests_.erase(request->id);
  notify();
}

}  // namespace splitwiser
