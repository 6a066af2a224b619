// Devices that fail, memory that is full, engines that are shut down in mid-flight: invariant 3.
#include <thread>

#include "engine_harness.hpp"

using namespace splitwiser;
using namespace splitwiser::fake;

namespace {

constexpr Schedule kSchedules[] = {Schedule::sequential, Schedule::chunked, Schedule::split};

Phase prompt_lane(Schedule schedule) { return schedule == Schedule::chunked ? Phase::decode : Phase::prefill; }

}  // namespace

TEST("an op that fails ends the requests of its step with the device's error, and no other") {
  for (const Schedule schedule : kSchedules) {
    for (const OpKind kind : {OpKind::embed, OpKind::write_kv, OpKind::attention, OpKind::gather, OpKind::sample, OpKind::record}) {
      Harness harness({.schedule = schedule});
      const RequestSpec request = prompt_request(make_prompt(harness.spec(), 40, 2), 10);
      check_outcome(harness.run(request), harness.spec(), request.tokens, *request.generate);
      harness.lane(prompt_lane(schedule)).fail_next(kind, ErrorCode::internal);
      const Outcome failed = harness.run(request);
      CHECK(failed.error() == ErrorCode::internal);
      CHECK(failed.choices.at(0).finish_reason == FinishReason::abort);
      CHECK_EQ(harness.pages().used, 0);
      check_outcome(harness.run(request), harness.spec(), request.tokens, *request.generate);
    }
  }
}

TEST("an op that fails in a decode step leaves prompts on the other lane alone") {
  Harness harness({.schedule = Schedule::split});
  const RequestSpec prompt = prompt_request(make_prompt(harness.spec(), 40, 2), 1);
  harness.lane(Phase::prefill).hold(OpKind::attention);
  const auto id = harness.submit(prompt);
  harness.lane(Phase::prefill).wait_until_held();
  harness.lane(Phase::prefill).resume();
  const auto stream = harness.submit(prompt_request({4, 5}, 400));
  harness.sink().wait_for_tokens(stream, 3);
  harness.lane(Phase::decode).fail_next(OpKind::attention, ErrorCode::out_of_memory);
  CHECK(harness.wait(stream).error() == ErrorCode::out_of_memory);
  check_outcome(harness.wait(id), harness.spec(), prompt.tokens, *prompt.generate);
}

TEST("a held sequence is whole after a failed step, also when the copy of a shared page was lost") {
  for (const Schedule schedule : kSchedules) {
    for (const OpKind kind : {OpKind::copy_pages, OpKind::embed, OpKind::write_kv, OpKind::attention, OpKind::sample}) {
      for (const std::size_t length : {5, 16, 23, 32}) {
        Harness harness({.schedule = schedule, .max_batch_tokens = 16});
        const auto prompt = make_prompt(harness.spec(), length, 2);
        const auto parent = harness.hold(prompt);
        const auto child = harness.engine().fork(parent);
        const auto appended = make_prompt(harness.spec(), 3, 4);
        // Only a page that is shared and partly used is copied.
        if (kind == OpKind::copy_pages && length % 16 == 0) continue;
        harness.lane(prompt_lane(schedule)).fail_next(kind, ErrorCode::internal);
        const Outcome failed = harness.run(held_request(child, appended, 5));
        CHECK(failed.error() == ErrorCode::internal);
        CHECK_EQ(failed.end.sequence, child);
        const RequestSpec next = held_request(child, {}, 20);
        check_outcome(harness.run(next), harness.spec(), joined(prompt, appended), *next.generate);
        const RequestSpec other = held_request(parent, {}, 20);
        check_outcome(harness.run(other), harness.spec(), prompt, *other.generate);
      }
    }
  }
}

TEST("pages of a failed step are free only when the lane has passed what was issued before the failure") {
  Harness harness({.schedule = Schedule::split});
  FakeLane& lane = harness.lane(Phase::prefill);
  lane.hold(OpKind::attention);
  lane.fail_next(OpKind::sample, ErrorCode::internal);
  const auto id = harness.submit(prompt_request(make_prompt(harness.spec(), 40, 2), 10));
  lane.wait_until_held();
  CHECK(!harness.sink().ended(id));
  CHECK_EQ(harness.pages().used, 3);
  lane.resume();
  CHECK(harness.wait(id).error() == ErrorCode::internal);
  CHECK_EQ(harness.pages().used, 0);
}

TEST("shutdown in mid-flight ends every request with DISPOSED, after the steps that run") {
  for (const Schedule schedule : kSchedules) {
    Harness harness({.schedule = schedule, .max_sequences = 4});
    FakeLane& lane = harness.lane(prompt_lane(schedule));
    const auto sequence = harness.hold(make_prompt(harness.spec(), 20, 9));
    const auto stream = harness.submit(prompt_request({1, 2}, 400));
    harness.sink().wait_for_tokens(stream, 4);
    lane.hold(OpKind::attention);
    std::vector<std::uint64_t> ids{stream};
    ids.push_back(harness.submit(held_request(sequence, {}, 5)));
    for (std::uint64_t i = 0; i < 6; i++) ids.push_back(harness.submit(prompt_request(make_prompt(harness.spec(), 30, i), 400)));
    lane.wait_until_held();
    std::thread other([&] { harness.engine().shutdown(); });
    while (true) {
      try {
        const auto late = harness.submit(prompt_request({1}, 1));  // until the shutdown has begun
        ids.push_back(late);
      } catch (const Error& error) {
        CHECK(error.code() == ErrorCode::disposed);
        break;
      }
      std::this_thread::yield();
    }
    CHECK(harness.pages().used > 0);  // a step still reads
    CHECK_THROWS_CODE(harness.engine().configure(harness.options()), ErrorCode::disposed);
    lane.resume();
    other.join();
    for (const auto id : ids) {
      const Outcome outcome = harness.wait(id);
      CHECK(outcome.ok() || outcome.error() == ErrorCode::disposed);
      for (const ChoiceOutcome& choice : outcome.choices) CHECK(outcome.ok() || choice.finish_reason != FinishReason::length);
    }
    CHECK(harness.wait(ids[0]).error() == ErrorCode::disposed);
    CHECK(harness.wait(ids[2]).error() == ErrorCode::disposed);
    CHECK_EQ(harness.pages().free, harness.pages().total);
    CHECK_EQ(harness.engine().stats().held, 0);
    harness.engine().shutdown();
    harness.engine().abort(ids[0]);
    CHECK_THROWS_CODE(harness.engine().fork(sequence), ErrorCode::invalid_option);
  }
}

TEST("an engine that never got a request can be shut down, from several threads") {
  Harness harness({});
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; i++) threads.emplace_back([&] { harness.engine().shutdown(); });
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(harness.pages().free, harness.pages().total);
}

TEST("an engine whose memory does not suffice is refused with OUT_OF_MEMORY") {
  const ModelSpec spec = make_spec();
  CollectingSink sink;
  const auto hazards = std::make_shared<HazardLog>();
  auto backend = std::make_unique<FakeBackend>(1, hazards);
  backend->limit_memory(1000);
  EngineParts parts;
  parts.backend = std::move(backend);
  parts.decoder = std::make_unique<Decoder>(spec, make_weights(spec));
  parts.kv = {spec.layers, spec.kv_heads, spec.head_dim, 16, 8, DType::f32};
  parts.max_model_len = 64;
  CHECK_THROWS_CODE(Engine(std::move(parts), EngineOptions{}, sink), ErrorCode::out_of_memory);
  CHECK_EQ(hazards->list(), std::vector<std::string>{});
}
