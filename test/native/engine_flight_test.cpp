// Several decode steps in flight: issued before the tokens of the one before are known to the host.
#include "engine_harness.hpp"

using namespace splitwiser;
using namespace splitwiser::fake;

namespace {

Setup flying(Schedule schedule, std::uint64_t seed = 1) {
  return {.schedule = schedule, .max_batch_tokens = 24, .max_sequences = 12, .seed = seed, .steps_in_flight = 3};
}

}  // namespace

TEST("steps in flight draw the reference's tokens in every schedule") {
  for (const Schedule schedule : {Schedule::sequential, Schedule::chunked, Schedule::split}) {
    Harness harness(flying(schedule));
    std::vector<std::pair<std::uint64_t, RequestSpec>> sent;
    for (std::uint64_t i = 0; i < 8; i++) {
      RequestSpec request = prompt_request(make_prompt(harness.spec(), 3 + 9 * i, i), 5 + 7 * std::int64_t(i));
      if (i % 2 == 1) request.generate->sampling.temperature = 20;
      if (i == 6) request.generate->choices = 3;
      sent.emplace_back(harness.submit(request), request);
    }
    for (const auto& [id, request] : sent) {
      check_outcome(harness.wait(id), harness.spec(), request.tokens, *request.generate);
    }
    CHECK(harness.lane(Phase::decode).most_steps_in_flight() == 3);
  }
}

TEST("a token past the end of a choice is dropped, and its pages wait for the steps that still write them") {
  Harness harness(flying(Schedule::split));
  for (std::uint64_t seed = 0; seed < 12; seed++) {
    RequestSpec request = prompt_request(make_prompt(harness.spec(), 15 + seed, seed), 40);
    request.generate->choices = 1 + std::uint32_t(seed % 4);
    request.generate->sampling.temperature = 20;
    request.generate->end_token_ids = {1, 2, 3, 5, 8, 13};
    request.generate->seed = seed;
    request.keep = request.generate->choices == 1;
    const Outcome outcome = harness.run(request);
    check_outcome(outcome, harness.spec(), request.tokens, *request.generate);
    if (outcome.end.sequence == 0) continue;
    // The sequence goes on from the tokens that count.
    const RequestSpec next = held_request(outcome.end.sequence, {4, 7}, 6);
    const auto past = joined(joined(request.tokens, outcome.choices.at(0).tokens), next.tokens);
    check_outcome(harness.run(next), harness.spec(), past, *next.generate);
    harness.engine().release(outcome.end.sequence);
  }
  CHECK_EQ(harness.pages().free, harness.pages().total);
}

TEST("pages of an ended choice go to a waiting prompt when no step in flight writes them") {
  Setup setup = flying(Schedule::split);
  setup.pages = 24;
  Harness harness(setup);
  std::vector<std::pair<std::uint64_t, RequestSpec>> sent;
  for (std::uint64_t i = 0; i < 60; i++) {
    RequestSpec request = prompt_request(make_prompt(harness.spec(), 20 + i % 13, i), 40);
    request.generate->choices = 3;
    request.generate->sampling.temperature = 20;
    request.generate->end_token_ids = {1, 2, 3, 5, 8, 13, 21, 34};
    request.generate->seed = i;
    sent.emplace_back(harness.submit(request), request);
  }
  for (const auto& [id, request] : sent) {
    check_outcome(harness.wait(id), harness.spec(), request.tokens, *request.generate);
  }
}

TEST("what the host must know first is not run ahead of") {
  Harness harness(flying(Schedule::split));
  RequestSpec request = prompt_request(make_prompt(harness.spec(), 20, 1), 20);
  request.generate->sampling.presence_penalty = 3;
  check_outcome(harness.run(request), harness.spec(), request.tokens, *request.generate);
  CHECK(harness.lane(Phase::decode).most_steps_in_flight() <= 1);
}

TEST("a failed step takes those that were issued behind it with it, and no others") {
  Harness harness(flying(Schedule::split));
  RequestSpec request = prompt_request(make_prompt(harness.spec(), 20, 1), 200);
  const auto id = harness.submit(request);
  harness.sink().wait_for_tokens(id, 4);
  harness.lane(Phase::decode).fail_next(OpKind::attention, ErrorCode::internal);
  const Outcome outcome = harness.wait(id);
  CHECK(outcome.error() == ErrorCode::internal);
  const auto expected = reference_tokens(harness.spec(), request.tokens, *request.generate, 0);
  const auto& tokens = outcome.choices.at(0).tokens;
  CHECK(tokens.size() >= 4 && std::equal(tokens.begin(), tokens.end(), expected.begin()));
  const RequestSpec next = prompt_request(make_prompt(harness.spec(), 9, 2), 9);
  check_outcome(harness.run(next), harness.spec(), next.tokens, *next.generate);
}

TEST("a lost device ends every request with what it has, and takes no other") {
  for (const int steps_in_flight : {1, 3}) {
    Setup setup = flying(Schedule::split);
    setup.steps_in_flight = steps_in_flight;
    Harness harness(setup);
    RequestSpec request = prompt_request(make_prompt(harness.spec(), 20, 1), 200);
    const auto first = harness.submit(request);
    const auto second = harness.submit(prompt_request(make_prompt(harness.spec(), 30, 2), 200));
    harness.sink().wait_for_tokens(first, 3);
    harness.lane(Phase::decode).fail_next(OpKind::linear, ErrorCode::device_lost);
    const Outcome outcome = harness.wait(first);
    CHECK(outcome.error() == ErrorCode::device_lost);
    CHECK(outcome.choices.at(0).tokens.size() >= 3);
    CHECK(harness.wait(second).error() == ErrorCode::device_lost);
    CHECK_THROWS_CODE(harness.submit(request), ErrorCode::device_lost);
    CHECK_THROWS_CODE(harness.engine().configure(harness.options()), ErrorCode::device_lost);
    CHECK_EQ(harness.pages().free, harness.pages().total);
  }
}
