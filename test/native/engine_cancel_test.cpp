// Abort, deadline and shutdown at the worst moments, and devices that fail: invariants 2 and 3.
#include <thread>

#include "engine_harness.hpp"

using namespace splitwiser;
using namespace splitwiser::fake;

namespace {

constexpr Schedule kSchedules[] = {Schedule::sequential, Schedule::chunked, Schedule::split};

Phase prompt_lane(Schedule schedule) { return schedule == Schedule::chunked ? Phase::decode : Phase::prefill; }

// Spins until the engine's clock is past `ms`: the test waits for the clock, not the clock for the test.
void wait_for_clock(Harness& harness, double ms) {
  while (harness.engine().stats().now_ms <= ms) std::this_thread::yield();
}

}  // namespace

TEST("abort in mid-step frees no page before the step has ended, then all of them") {
  for (const Schedule schedule : kSchedules) {
    for (const OpKind before : {OpKind::embed, OpKind::write_kv, OpKind::attention, OpKind::sample, OpKind::record}) {
      Harness harness({.schedule = schedule});
      FakeLane& lane = harness.lane(prompt_lane(schedule));
      lane.hold(before);
      const auto id = harness.submit(prompt_request(make_prompt(harness.spec(), 40, 1), 8));
      lane.wait_until_held();
      const std::int64_t used = harness.pages().used;
      CHECK_EQ(used, 3);
      harness.engine().abort(id);
      CHECK(!harness.sink().ended(id));
      CHECK_EQ(harness.pages().used, used);
      CHECK_EQ(harness.engine().stats().running, 1);
      lane.resume();
      const Outcome outcome = harness.wait(id);
      CHECK(outcome.error() == ErrorCode::aborted);
      CHECK(outcome.choices.at(0).finish_reason == FinishReason::abort);
      CHECK_EQ(harness.pages().used, 0);
    }
  }
}

TEST("abort of a running choice frees its pages once its decode step has ended") {
  for (const Schedule schedule : kSchedules) {
    Harness harness({.schedule = schedule});
    RequestSpec request = prompt_request(make_prompt(harness.spec(), 20, 1), 50);
    request.generate->choices = 3;
    const auto id = harness.submit(request);
    harness.sink().wait_for_tokens(id, 9);
    FakeLane& lane = harness.lane(Phase::decode);
    lane.hold(OpKind::attention);
    lane.wait_until_held();
    const std::int64_t used = harness.pages().used;
    harness.engine().abort(id);
    CHECK(!harness.sink().ended(id));
    CHECK_EQ(harness.pages().used, used);
    lane.resume();
    const Outcome outcome = harness.wait(id);
    CHECK(outcome.error() == ErrorCode::aborted);
    CHECK_EQ(harness.pages().used, 0);
    const auto whole = reference_tokens(harness.spec(), request.tokens, *request.generate);
    for (const ChoiceOutcome& choice : outcome.choices) {
      CHECK(choice.tokens.size() >= 3 && choice.tokens.size() < 50);
      CHECK_EQ(choice.tokens, std::vector(whole.begin(), whole.begin() + std::ptrdiff_t(choice.tokens.size())));
    }
  }
}

TEST("pages of a request aborted in mid-step are not handed to the other lane while they are read") {
  Harness harness({.schedule = Schedule::split, .pages = 12});
  const RequestSpec stream_request = prompt_request(make_prompt(harness.spec(), 10, 7), 80);  // up to 6 pages
  harness.lane(Phase::decode).hold(OpKind::embed);
  const auto stream = harness.submit(stream_request);
  harness.lane(Phase::decode).wait_until_held();
  harness.lane(Phase::prefill).hold(OpKind::attention);
  const auto id = harness.submit(prompt_request(make_prompt(harness.spec(), 60, 1), 8));
  harness.lane(Phase::prefill).wait_until_held();
  harness.engine().abort(id);
  harness.lane(Phase::decode).resume();
  check_outcome(harness.wait(stream), harness.spec(), stream_request.tokens, *stream_request.generate);
  CHECK(!harness.sink().ended(id));
  harness.lane(Phase::prefill).resume();
  CHECK(harness.wait(id).error() == ErrorCode::aborted);
}

TEST("abort of a waiting request ends it at once") {
  Harness harness({.schedule = Schedule::split, .max_sequences = 1});
  harness.lane(Phase::prefill).hold(OpKind::embed);
  const auto first = harness.submit(prompt_request(make_prompt(harness.spec(), 20, 1), 3));
  harness.lane(Phase::prefill).wait_until_held();
  const auto waiting = harness.submit(prompt_request(make_prompt(harness.spec(), 20, 2), 3));
  CHECK_EQ(harness.engine().stats().waiting, 1);
  harness.engine().abort(waiting);
  CHECK(harness.sink().ended(waiting));
  const Outcome outcome = harness.wait(waiting);
  CHECK(outcome.error() == ErrorCode::aborted);
  CHECK(outcome.choices.at(0).finish_reason == FinishReason::abort);
  CHECK_EQ(outcome.choices[0].tokens.size(), 0);
  CHECK(!outcome.end.timing.started_ms);
  harness.lane(Phase::prefill).resume();
  CHECK(harness.wait(first).ok());
}

TEST("abort is ignored for unknown and ended requests, and counts once") {
  Harness harness({});
  const auto id = harness.submit(prompt_request({1, 2, 3}, 2));
  CHECK(harness.wait(id).ok());
  harness.engine().abort(id);
  harness.engine().abort(12345);
  const auto other = harness.submit(prompt_request({1, 2, 3}, 400));
  harness.engine().abort(other);
  harness.engine().abort(other);
  CHECK(harness.wait(other).error() == ErrorCode::aborted);
}

TEST("a step whose requests have all been aborted stops between two layers, and the sequence stays whole") {
  for (const Schedule schedule : kSchedules) {
    Harness harness({.schedule = schedule});
    const auto prompt = make_prompt(harness.spec(), 24, 1);
    const auto parent = harness.hold(prompt);
    const auto sequence = harness.engine().fork(parent);  // the step copies a page
    const std::int64_t used = harness.pages().used;
    FakeLane& lane = harness.lane(prompt_lane(schedule));
    lane.hold_issue();
    const auto appended = make_prompt(harness.spec(), 30, 2);
    const auto id = harness.submit(held_request(sequence, appended, 8));
    lane.wait_until_issue_held();
    harness.engine().abort(id);
    CHECK(!harness.sink().ended(id));
    lane.resume_issue();
    const Outcome outcome = harness.wait(id);
    CHECK(outcome.error() == ErrorCode::aborted);
    CHECK_EQ(outcome.end.timing.prefill_tokens, 0);
    CHECK_EQ(harness.pages().used, used + 1);  // the copy of the shared page; what the step took beside it is given back
    // On the other lane: what the stopped step wrote must be ordered before.
    EngineOptions options = harness.options();
    options.schedule = schedule == Schedule::chunked ? Schedule::split : Schedule::chunked;
    CHECK(!harness.configure(options).error);
    const RequestSpec next = held_request(sequence, {}, 8);
    check_outcome(harness.run(next), harness.spec(), joined(prompt, appended), *next.generate);
    check_outcome(harness.run(held_request(parent, {}, 8)), harness.spec(), prompt, *next.generate);
  }
}

TEST("a step with one aborted request goes on for the others") {
  Harness harness({.schedule = Schedule::chunked});
  harness.lane(Phase::decode).hold(OpKind::embed);
  const auto first = harness.submit(prompt_request({1}, 2));
  harness.lane(Phase::decode).wait_until_held();
  const RequestSpec request = prompt_request(make_prompt(harness.spec(), 20, 5), 10);
  const auto gone = harness.submit(prompt_request(make_prompt(harness.spec(), 20, 4), 10));
  const auto stays = harness.submit(request);
  harness.lane(Phase::decode).hold_issue();
  harness.lane(Phase::decode).resume();
  harness.lane(Phase::decode).wait_until_issue_held();  // both prompts are in this step
  harness.engine().abort(gone);
  harness.lane(Phase::decode).resume_issue();
  CHECK(harness.wait(gone).error() == ErrorCode::aborted);
  check_outcome(harness.wait(stays), harness.spec(), request.tokens, *request.generate);
  CHECK(harness.wait(first).ok());
}

TEST("a deadline ends waiting requests at once and running ones after their step") {
  Harness harness({.schedule = Schedule::split, .max_sequences = 1});
  harness.lane(Phase::prefill).hold(OpKind::attention);
  RequestSpec request = prompt_request(make_prompt(harness.spec(), 20, 1), 5);
  request.deadline_ms = 1e9;
  const auto running = harness.submit(request);
  harness.lane(Phase::prefill).wait_until_held();
  request.deadline_ms = 0.5;
  const auto waiting = harness.submit(request);
  const Outcome late = harness.wait(waiting);
  CHECK(late.error() == ErrorCode::deadline);
  CHECK(late.end.timing.end_ms >= late.end.timing.submitted_ms + 0.5);
  CHECK(!harness.sink().ended(running));
  harness.lane(Phase::prefill).resume();
  CHECK(harness.wait(running).ok());
}

TEST("a deadline in mid-step frees no page before the step has ended") {
  Harness harness({.schedule = Schedule::split});
  // Until the step is held the deadline may pass already: both orders end with DEADLINE.
  harness.lane(Phase::prefill).hold(OpKind::attention);
  RequestSpec request = prompt_request(make_prompt(harness.spec(), 20, 1), 5);
  request.deadline_ms = 100;
  const auto id = harness.submit(request);
  while (harness.pages().used == 0 && !harness.sink().ended(id)) std::this_thread::yield();
  const double deadline = harness.engine().stats().now_ms + request.deadline_ms;
  wait_for_clock(harness, deadline);
  CHECK(harness.sink().ended(id) == (harness.pages().used == 0));
  harness.lane(Phase::prefill).resume();
  CHECK(harness.wait(id).error() == ErrorCode::deadline);
  CHECK_EQ(harness.pages().used, 0);
}

TEST("a deadline farther away than a clock can count is no deadline") {
  Harness harness({});
  RequestSpec request = prompt_request(make_prompt(harness.spec(), 20, 1), 30);
  for (const double deadline_ms : {1e15, 1e19, 1e300}) {
    request.deadline_ms = deadline_ms;
    check_outcome(harness.run(request), harness.spec(), request.tokens, *request.generate);
  }
}
