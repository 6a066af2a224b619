// configure(): other schedules and bounds while requests run.
#include <thread>

#include "engine_harness.hpp"

using namespace splitwiser;
using namespace splitwiser::fake;

namespace {

constexpr Schedule kSchedules[] = {Schedule::sequential, Schedule::chunked, Schedule::split};

}  // namespace

TEST("configure in mid-flight keeps every request's tokens") {
  Harness harness({.schedule = Schedule::sequential, .max_batch_tokens = 8});
  std::vector<RequestSpec> specs;
  std::vector<std::uint64_t> ids;
  for (std::uint64_t i = 0; i < 8; i++) {
    specs.push_back(prompt_request(make_prompt(harness.spec(), 10 + 11 * i, i), 60));
    ids.push_back(harness.submit(specs.back()));
  }
  EngineOptions options = harness.options();
  for (int i = 0; i < 24; i++) {
    options.schedule = kSchedules[i % 3];
    options.max_batch_tokens = 1 + 5 * (i % 7);
    const ConfiguredEvent configured = harness.configure(options);
    CHECK(!configured.error);
    CHECK(harness.engine().stats().schedule == options.schedule);
    harness.sink().wait_for_tokens(ids[std::size_t(i) % ids.size()], 1 + std::size_t(i));
  }
  for (std::size_t i = 0; i < ids.size(); i++) {
    check_outcome(harness.wait(ids[i]), harness.spec(), specs[i].tokens, *specs[i].generate);
  }
}

TEST("a configuration waits for the steps that run and is in force for the next") {
  Harness harness({.schedule = Schedule::split});
  harness.lane(Phase::prefill).hold(OpKind::attention);
  const auto first = harness.submit(prompt_request(make_prompt(harness.spec(), 20, 1), 5));
  harness.lane(Phase::prefill).wait_until_held();
  EngineOptions options = harness.options();
  options.schedule = Schedule::chunked;
  const auto configuration = harness.engine().configure(options);
  CHECK(harness.engine().stats().schedule == Schedule::split);
  const auto second = harness.submit(prompt_request(make_prompt(harness.spec(), 20, 2), 5));
  harness.lane(Phase::prefill).resume();
  CHECK(!harness.sink().wait_configured(configuration).error);
  CHECK(harness.wait(first).ok());
  const Outcome outcome = harness.wait(second);
  CHECK(outcome.ok());
  // In "chunked" prompts are computed on the decode lane.
  for (const Span& span : outcome.end.timing.spans) CHECK(span.phase != SpanPhase::prefill || span.lane == Phase::decode);
}

TEST("a configuration that the device refuses is answered with its error and changes nothing, without memory to go back") {
  Harness harness({.schedule = Schedule::chunked, .max_batch_tokens = 16});
  const std::size_t activations = harness.engine().info().activation_bytes;
  EngineOptions options = harness.options();
  options.schedule = Schedule::split;
  options.max_batch_tokens = 40;
  harness.backend().refuse_next_configure();
  const ConfiguredEvent refused = harness.configure(options);
  REQUIRE(refused.error.has_value());
  CHECK(refused.error->code == ErrorCode::invalid_option);
  CHECK(harness.engine().stats().schedule == Schedule::chunked);
  CHECK_EQ(harness.engine().info().activation_bytes, activations);
  const RequestSpec request = prompt_request(make_prompt(harness.spec(), 50, 1), 5);
  check_outcome(harness.run(request), harness.spec(), request.tokens, *request.generate);
}

TEST("a configuration that needs more memory than there is changes nothing") {
  Harness harness({.schedule = Schedule::chunked, .max_batch_tokens = 16});
  const std::size_t activations = harness.engine().info().activation_bytes;
  harness.backend().limit_memory(activations * 3);
  EngineOptions options = harness.options();
  options.max_batch_tokens = 4096;
  const ConfiguredEvent refused = harness.configure(options);
  REQUIRE(refused.error.has_value());
  CHECK(refused.error->code == ErrorCode::out_of_memory);
  CHECK_EQ(harness.engine().info().activation_bytes, activations);
  const RequestSpec request = prompt_request(make_prompt(harness.spec(), 50, 1), 5);
  check_outcome(harness.run(request), harness.spec(), request.tokens, *request.generate);
}

TEST("bounds that can never hold are refused at once") {
  Harness harness({});
  EngineOptions options = harness.options();
  options.max_batch_tokens = 0;
  CHECK_THROWS_CODE(harness.engine().configure(options), ErrorCode::invalid_option);
  options = harness.options();
  options.max_sequences = 0;
  CHECK_THROWS_CODE(harness.engine().configure(options), ErrorCode::invalid_option);
}

TEST("a waiting request with more choices than a lowered maxSequences runs alone and does not block the others") {
  Harness harness({.schedule = Schedule::split, .max_sequences = 4});
  harness.lane(Phase::prefill).hold(OpKind::embed);
  const auto first = harness.submit(prompt_request({1}, 3));
  harness.lane(Phase::prefill).wait_until_held();
  RequestSpec request = prompt_request({2, 3}, 6);
  request.generate->choices = 4;
  const auto wide = harness.submit(request);
  EngineOptions options = harness.options();
  options.max_sequences = 2;
  const auto configuration = harness.engine().configure(options);
  const auto last = harness.submit(prompt_request({4}, 3));
  harness.lane(Phase::prefill).resume();
  CHECK(!harness.sink().wait_configured(configuration).error);
  CHECK(harness.wait(first).ok());
  check_outcome(harness.wait(wide), harness.spec(), request.tokens, *request.generate);
  CHECK(harness.wait(last).ok());
}

TEST("configurations that shutdown overtakes are answered with DISPOSED") {
  Harness harness({.schedule = Schedule::split});
  harness.lane(Phase::prefill).hold_issue();
  const auto id = harness.submit(prompt_request(make_prompt(harness.spec(), 20, 1), 5));
  harness.lane(Phase::prefill).wait_until_issue_held();
  const auto configuration = harness.engine().configure(harness.options());
  std::thread other([&] { harness.engine().shutdown(); });
  while (true) {
    try {
      (void)harness.engine().configure(harness.options());
    } catch (const Error&) {
      break;
    }
    std::this_thread::yield();
  }
  harness.lane(Phase::prefill).resume_issue();
  other.join();
  const ConfiguredEvent answer = harness.sink().wait_configured(configuration);
  REQUIRE(answer.error.has_value());
  CHECK(answer.error->code == ErrorCode::disposed);
  CHECK(harness.wait(id).error() == ErrorCode::disposed);
}
