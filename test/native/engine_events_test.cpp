// Stamps, counts and the timeline: what the two ways to look inside promise.
#include <algorithm>

#include "engine_harness.hpp"

using namespace splitwiser;
using namespace splitwiser::fake;

namespace {

constexpr Schedule kSchedules[] = {Schedule::sequential, Schedule::chunked, Schedule::split};

void check_timing(const Timing& timing, std::int64_t prompt_tokens, std::size_t tokens) {
  REQUIRE(timing.started_ms.has_value());
  CHECK(timing.submitted_ms <= *timing.started_ms);
  CHECK_EQ(timing.token_ms.size(), tokens);
  CHECK(std::ranges::is_sorted(timing.token_ms));
  CHECK_EQ(timing.prefill_tokens, prompt_tokens);
  CHECK_EQ(timing.decode_tokens, tokens > 0 ? std::int64_t(tokens) - 1 : 0);
  CHECK_EQ(timing.preemptions, 0);
  REQUIRE(!timing.spans.empty());
  const Span& queued = timing.spans.front();
  CHECK(queued.phase == SpanPhase::queued && queued.start_ms == timing.submitted_ms && queued.end_ms == *timing.started_ms);
  CHECK(!queued.lane);
  std::int64_t prefill = 0, decode = 0;
  for (std::size_t i = 0; i < timing.spans.size(); i++) {
    const Span& span = timing.spans[i];
    CHECK(span.start_ms <= span.end_ms);
    if (i > 0) CHECK(span.start_ms >= timing.spans[i - 1].end_ms);
    if (span.phase == SpanPhase::prefill) prefill += span.tokens;
    if (span.phase == SpanPhase::decode) decode += span.tokens;
    CHECK(span.phase == SpanPhase::queued || span.lane.has_value());
  }
  CHECK_EQ(prefill, timing.prefill_tokens);
  CHECK_EQ(decode, timing.decode_tokens);
  CHECK(timing.end_ms >= timing.spans.back().end_ms);
  if (tokens > 0) {
    CHECK(timing.token_ms.front() >= *timing.started_ms);
    CHECK(timing.token_ms.back() == timing.spans.back().end_ms);
  }
}

void run_some(Harness& harness) {
  std::vector<std::uint64_t> ids;
  for (std::uint64_t i = 0; i < 8; i++) {
    ids.push_back(harness.submit(prompt_request(make_prompt(harness.spec(), 3 + 9 * i, i), 1 + 4 * std::int64_t(i))));
  }
  for (const auto id : ids) CHECK(harness.wait(id).ok());
}

}  // namespace

TEST("stamps ascend, spans do not overlap and count every token once") {
  for (const Schedule schedule : kSchedules) {
    Harness harness({.schedule = schedule, .max_batch_tokens = 12});
    std::vector<RequestSpec> specs;
    std::vector<std::uint64_t> ids;
    for (std::uint64_t i = 0; i < 8; i++) {
      specs.push_back(prompt_request(make_prompt(harness.spec(), 1 + 9 * i, i), 1 + 4 * std::int64_t(i)));
      specs.back().generate->choices = 1 + std::uint32_t(i % 3);
      ids.push_back(harness.submit(specs.back()));
    }
    for (std::size_t i = 0; i < ids.size(); i++) {
      const Outcome outcome = harness.wait(ids[i]);
      const auto prompt_tokens = std::int64_t(specs[i].tokens.size());
      CHECK_EQ(outcome.choices.size(), specs[i].generate->choices);
      for (const ChoiceOutcome& choice : outcome.choices) check_timing(choice.timing, prompt_tokens, choice.tokens.size());
      CHECK_EQ(outcome.end.prompt_tokens, prompt_tokens);
      CHECK_EQ(outcome.end.cached_tokens, 0);
      CHECK_EQ(outcome.end.timing.prefill_tokens, prompt_tokens);
    }
  }
}

TEST("events come in order: tokens, the ends of choices, one end of the request") {
  for (const Schedule schedule : kSchedules) {
    Harness harness({.schedule = schedule, .max_batch_tokens = 12});
    std::vector<std::uint64_t> ids;
    for (std::uint64_t i = 0; i < 6; i++) {
      RequestSpec request = prompt_request(make_prompt(harness.spec(), 2 + 5 * i, i), 1 + std::int64_t(i));
      request.generate->choices = 1 + std::uint32_t(i % 4);
      ids.push_back(harness.submit(request));
    }
    for (const auto id : ids) CHECK(harness.wait(id).ok());
    harness.engine().shutdown();
    auto ends = harness.sink().order_of_ends();
    std::ranges::sort(ends);
    CHECK_EQ(ends, ids);
    CHECK_EQ(harness.sink().violations(), std::vector<std::string>{});
  }
}

TEST("a held sequence's calls are timed each on its own") {
  Harness harness({});
  const auto sequence = harness.hold(make_prompt(harness.spec(), 20, 1));
  const Outcome appended = harness.run(held_request(sequence, {1, 2, 3}, 0));
  check_timing(appended.end.timing, 3, 0);
  const Outcome decoded = harness.run(held_request(sequence, {}, 5));
  check_timing(decoded.choices.at(0).timing, 1, 5);  // the last token again: its logits are wanted
}

TEST("counts add up: prompt tokens, generated tokens, steps and time of the lanes") {
  for (const Schedule schedule : kSchedules) {
    Harness harness({.schedule = schedule, .max_batch_tokens = 12});
    run_some(harness);
    const EngineStats stats = harness.engine().stats();
    CHECK_EQ(stats.prompt_tokens, 8 * 3 + 9 * 28);
    CHECK_EQ(stats.generated_tokens, 8 + 4 * 28);
    CHECK_EQ(stats.preemptions, 0);
    CHECK_EQ(stats.waiting + stats.running + stats.held, 0);
    CHECK_EQ(stats.pages.free + stats.pages.used + stats.pages.cached, stats.pages.total);
    std::int64_t steps[kPhases] = {}, tokens = 0;
    double busy[kPhases] = {};
    double last = 0;
    for (const TimelineEvent& event : harness.engine().timeline(100000)) {
      tokens += event.tokens;
      busy[int(event.lane)] += event.end_ms - event.start_ms;
      steps[int(event.lane)]++;
      CHECK(event.end_ms >= last);
      last = event.end_ms;
      CHECK(event.tokens >= std::int64_t(event.requests.size()) && !event.requests.empty());
    }
    // The first token of a request is its prompt step's.
    CHECK_EQ(tokens, stats.prompt_tokens + stats.generated_tokens - 8);
    for (int lane = 0; lane < kPhases; lane++) {
      // A mixed step is two events of the timeline.
      CHECK(steps[lane] >= stats.lanes[lane].steps);
      CHECK(busy[lane] >= stats.lanes[lane].busy_ms - 1e-6);
    }
    CHECK(stats.now_ms >= last);
  }
}

TEST("sequential runs one phase at a time, chunked on one lane, split each phase on its own") {
  for (const Schedule schedule : kSchedules) {
    Harness harness({.schedule = schedule, .max_batch_tokens = 12});
    run_some(harness);
    const auto events = harness.engine().timeline(100000);
    CHECK(!events.empty());
    for (const TimelineEvent& event : events) {
      if (schedule == Schedule::chunked) CHECK(event.lane == Phase::decode);
      if (schedule != Schedule::chunked) CHECK(event.lane == event.phase);
    }
    if (schedule != Schedule::sequential) continue;
    for (std::size_t i = 1; i < events.size(); i++) CHECK(events[i].start_ms >= events[i - 1].end_ms);
  }
}

TEST("split generates on while a prompt is being computed") {
  Harness harness({.schedule = Schedule::split});
  const auto stream = harness.submit(prompt_request({1, 2}, 200));
  harness.sink().wait_for_tokens(stream, 2);
  harness.lane(Phase::prefill).hold(OpKind::attention);
  const auto prompt = harness.submit(prompt_request(make_prompt(harness.spec(), 40, 1), 1));
  harness.lane(Phase::prefill).wait_until_held();
  CHECK(harness.wait(stream).ok());  // ends although the prompt's step does not
  CHECK(!harness.sink().ended(prompt));
  harness.lane(Phase::prefill).resume();
  CHECK(harness.wait(prompt).ok());
}

TEST("the timeline keeps the last events, oldest first, as many as are asked for") {
  Harness harness({.schedule = Schedule::sequential});
  run_some(harness);
  const auto all = harness.engine().timeline(100000);
  const auto some = harness.engine().timeline(3);
  REQUIRE(all.size() > 3 && some.size() == 3);
  for (std::size_t i = 0; i < 3; i++) CHECK(some[i].start_ms == all[all.size() - 3 + i].start_ms);
  CHECK_EQ(harness.engine().timeline(0).size(), 0);
}

TEST("info tells what is held: weights, pages and both lanes' activations") {
  Harness harness({.page_size = 32, .pages = 10});
  const EngineInfo info = harness.engine().info();
  CHECK_EQ(info.device, "fake");
  CHECK_EQ(info.kv_bytes, 2 * 3 * 8 * 32 * 10 * 4);  // keys and values, layers, heads x dim, page, pages, f32
  CHECK(info.activation_bytes > 0);
  CHECK_EQ(info.lanes[0].cores, 1);
}
