// A lane's thread: takes a step, runs it without the lock, commits it.
#include <algorithm>
#include <chrono>

#include "engine/engine_impl.hpp"
#include "engine/generation.hpp"

namespace splitwiser {
namespace {

// Waits for all that was issued.
void drain(Lane& lane) noexcept {
  try {
    lane.synchronize(*lane.record());
  } catch (...) {
    // A lost device runs nothing any more.
  }
}

}  // namespace

void Engine::Impl::run_lane(Phase phase) {
  LaneState& lane = lanes_[int(phase)];
  Lock lock(mutex_);
  while (!stopping_ || !lane.flying.empty()) {
    const double now = now_ms();
    expire_deadlines(now);
    const bool lanes_idle = !lanes_[0].busy && !lanes_[1].busy;
    if (!configurations_.empty() && lanes_idle) apply_configurations();
    // While a configuration waits for the steps in flight, none begins here.
    const bool may_begin = !stopping_ && configurations_.empty() && lane.flying.size() < most_in_flight_ &&
                           (lane.flying.empty() || (lane.flying.back().plain_decode && !lane.flying.back().failure));
    std::optional<Step> step = may_begin ? next_step(phase, now) : std::nullopt;
    // Before the lock is given up: the other lane must not reconfigure, nor begin beside a sequential step.
    lane.busy = step.has_value() || !lane.flying.empty();
    if (!lane.busy && outbox_.empty()) {
      await_change(lock);
      continue;
    }
    lock.unlock();
    flush();
    const bool begun = step.has_value();
    if (step) {
      // In its place before it is issued: the device reads the step's own arrays.
      lane.flying.push_back(std::move(*step));
      issue(lane.flying.back());
    }
    // Another step may follow a plain one before the first is waited for.
    const bool waits = !lane.flying.empty() && !(begun && lane.flying.back().plain_decode && !lane.flying.back().failure);
    if (waits) complete(lane.flying.front());
    lock.lock();
    if (waits) {
      commit(lane.flying.front());
      lane.flying.pop_front();
      notify();
    }
    lane.busy = !lane.flying.empty();
  }
}

void Engine::Impl::await_change(Lock& lock) {
  const std::uint64_t seen = changes_;
  const auto changed = [&] { return stopping_ || changes_ != seen; };
  if (const auto deadline = next_deadline()) {
    // An hour at most at a time: a deadline may lie farther away than the clock can count.
    const std::chrono::duration<double, std::milli> left(std::clamp(*deadline - now_ms(), 0.0, 3.6e6));
    wake_.wait_for(lock, left, changed);
  } else {
    wake_.wait(lock, changed);
  }
}

// Runs `work` of a step; what it throws becomes the step's failure.
template <typename Work>
void Engine::Impl::attempt(Step& step, const Work& work) {
  try {
    try {
      work();
    } catch (...) {
      // What was issued before the failure still reads the step's pages and memory (invariant 2).
      drain(backend_->lane(step.lane));
      throw;
    }
  } catch (const Error& error) {
    step.failure = Failure{error.code(), error.what()};
  } catch (const std::bad_alloc&) {
    step.failure = Failure{ErrorCode::out_of_memory, "no memory is left for a step: lower maxBatchTokens or free memory"};
  } catch (const std::exception& error) {
    step.failure = Failure{ErrorCode::internal, error.what()};
  }
}

void Engine::Impl::issue(Step& step) {
  LaneState& state = lanes_[int(step.lane)];
  Lane& lane = backend_->lane(step.lane);
  attempt(step, [&] {
    if (!state.in_step) lane.begin_step();
    state.in_step = true;
    for (const auto& event : step.waits) lane.wait(event);
    if (!step.copies.empty()) lane.ops().copy_pages(*pool_, step.copies);
    step.plain_decode ? issue_plain(lane, step) : issue_mixed(lane, step);
  });
  step.shared_sms = lane.take_shared_sms();
}

void Engine::Impl::issue_plain(Lane& lane, Step& step) {
  for (const Output& output : step.outputs) {
    const Segment& segment = step.segments[output.segment];
    step.sample_rows.push_back(sample_row_for(*segment.request, *output.sample_for, output.row, segment.first + 1));
  }
  step.sample_results.resize(step.sample_rows.size());
  lane.decode({step.input(kv_shape_.page_size), step.sample_rows, step.sample_results});
  step.done = lane.record();
}

void Engine::Impl::issue_mixed(Lane& lane, Step& step) {
  Workspace& workspace = *lanes_[int(step.lane)].workspace;
  // A step whose requests have all been ended stops at the next layer (invariant 6).
  const auto interrupted = [&step] {
    return std::ranges::all_of(step.segments, [](const Segment& segment) {
      return segment.request->cancelled.load(std::memory_order_relaxed);
    });
  };
  const StepInput input = step.input(kv_shape_.page_size);
  const auto states = decoder_->forward(lane, input, *pool_, workspace, step.wanted, interrupted);
  step.interrupted = !states;
  if (states) run_outputs(lane, step, *states, workspace);
  step.done = lane.record();
}

// Waits for the oldest step in flight and takes what it drew.
void Engine::Impl::complete(Step& step) {
  LaneState& state = lanes_[int(step.lane)];
  Lane& lane = backend_->lane(step.lane);
  if (!step.failure) {
    attempt(step, [&] {
      lane.synchronize(*step.done);
      if (step.interrupted) return;
      if (step.plain_decode) {
        for (std::size_t i = 0; i < step.outputs.size(); i++) step.outputs[i].result = std::move(step.sample_results[i]);
      }
      take_samples(step);
    });
  }
  // What follows a failed step began from its tokens.
  if (step.failure) {
    for (Step& later : state.flying) {
      if (!later.failure) later.failure = step.failure;
    }
  }
  step.end_ms = now_ms();
  if (lane.take_shared_sms()) step.shared_sms = true;
  if (state.in_step && state.flying.size() == 1) {
    lane.end_step();
    state.in_step = false;
  }
}

void Engine::Impl::run_outputs(Lane& lane, Step& step, Tensor states, Workspace& workspace) {
  const std::int64_t vocab = decoder_->spec().vocab;
  std::vector<SampleRow>& rows = step.sample_rows;
  std::vector<SampleResult>& results = step.sample_results;
  std::vector<std::size_t> row_outputs;
  for (std::size_t begin = 0; begin < step.outputs.size();) {
    std::size_t end = begin + 1;
    while (end < step.outputs.size() && end - begin < std::size_t(workspace.max_logit_rows()) &&
           step.outputs[end].state == step.outputs[end - 1].state + 1) {
      end++;
    }
    const Tensor logits = decoder_->logits(lane, states, step.outputs[begin].state, std::int64_t(end - begin), workspace);
    rows.clear();
    row_outputs.clear();
    for (std::size_t i = begin; i < end; i++) {
      const Output& output = step.outputs[i];
      const Segment& segment = step.segments[output.segment];
      Request& request = *segment.request;
      const std::int64_t position = step.positions[std::size_t(output.row)];
      const auto row = std::int64_t(i - begin);
      if (output.read) {
        const std::int64_t index = request.spec.logits ? position - request.first_token : 0;
        const Tensor one{static_cast<float*>(logits.data) + row * vocab, DType::f32, 1, vocab};
        lane.ops().read(one, std::as_writable_bytes(std::span(request.logits).subspan(std::size_t(index * vocab), std::size_t(vocab))));
      }
      if (!output.sample_for && output.prompt_target < 0) continue;
      rows.push_back(output.sample_for
                         ? sample_row_for(request, *output.sample_for, row, position + 1)
                         : SampleRow{.row = row, .top_logprobs = request.spec.prompt_logprobs, .sample = false,
                                     .target = output.prompt_target});
      row_outputs.push_back(i);
    }
    if (!rows.empty()) {
      results.assign(rows.size(), {});
      lane.ops().sample(logits, rows, results);
      // The next pass reuses rows and results.
      lane.synchronize(*lane.record());
      for (std::size_t i = 0; i < rows.size(); i++) step.outputs[row_outputs[i]].result = std::move(results[i]);
    }
    begin = end;
  }
}

void Engine::Impl::take_samples(Step& step) {
  for (Output& output : step.outputs) {
    const RequestPtr& request = step.segments[output.segment].request;
    if (output.prompt_target >= 0) {
      auto& logprobs = request->prompt_logprobs;
      const auto target = std::size_t(step.positions[std::size_t(output.row)]) + 1;
      if (logprobs.size() <= target) logprobs.resize(target + 1);
      logprobs[target] = TokenLogprob{output.result.token, output.result.logprob, std::move(output.result.top)};
    }
    // A choice that ended while this step was in flight has no more tokens.
    if (output.sample_for && !output.sample_for->finished) step.sampled.push_back(advance(request, *output.sample_for, std::move(output.result)));
  }
}

}  // namespace splitwiser
