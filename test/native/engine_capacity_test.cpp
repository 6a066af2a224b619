// Pages and slots: who waits, who is refused, and that a promise of pages is kept.
#include "engine_harness.hpp"

using namespace splitwiser;
using namespace splitwiser::fake;

namespace {

constexpr Schedule kSchedules[] = {Schedule::sequential, Schedule::chunked, Schedule::split};

std::string message_of(Harness& harness, const RequestSpec& spec, ErrorCode code) {
  try {
    harness.submit(spec);
  } catch (const Error& error) {
    CHECK(error.code() == code);
    return error.what();
  }
  CHECK(!"the request was refused");
  return {};
}

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST("requests that do not fit wait for pages and run when there are some") {
  for (const Schedule schedule : kSchedules) {
    Harness harness({.schedule = schedule, .max_batch_tokens = 16, .pages = 9});
    FakeLane& lane = harness.lane(schedule == Schedule::chunked ? Phase::decode : Phase::prefill);
    lane.hold(OpKind::embed);
    std::vector<RequestSpec> specs;
    std::vector<std::uint64_t> ids;
    for (std::uint64_t i = 0; i < 10; i++) {
      specs.push_back(prompt_request(make_prompt(harness.spec(), 10 + 5 * i, i), 45));  // 4 to 7 pages
      ids.push_back(harness.submit(specs.back()));
    }
    lane.wait_until_held();
    CHECK(harness.engine().stats().waiting >= 8);  // two of the smallest fit
    lane.resume();
    for (std::size_t i = 0; i < ids.size(); i++) {
      check_outcome(harness.wait(ids[i]), harness.spec(), specs[i].tokens, *specs[i].generate);
    }
    CHECK_EQ(harness.pages().free, 9);
  }
}

TEST("pages that held sequences keep are waited for until one is released") {
  Harness harness({.pages = 6});
  const auto sequence = harness.hold(make_prompt(harness.spec(), 50, 1));  // 4 pages
  const RequestSpec request = prompt_request(make_prompt(harness.spec(), 30, 2), 20);  // 4 pages
  const auto waiting = harness.submit(request);
  const RequestSpec small = prompt_request({1, 2}, 4);
  CHECK(!harness.sink().ended(waiting));
  CHECK_EQ(harness.engine().stats().waiting, 1);
  harness.engine().release(sequence);
  check_outcome(harness.wait(waiting), harness.spec(), request.tokens, *request.generate);
  check_outcome(harness.run(small), harness.spec(), small.tokens, *small.generate);
}

TEST("a request that waits for pages is not passed by smaller ones behind it") {
  Harness harness({.schedule = Schedule::split, .pages = 10});
  harness.lane(Phase::prefill).hold(OpKind::embed);
  const auto first = harness.submit(prompt_request(make_prompt(harness.spec(), 100, 1), 3));  // 7 pages
  harness.lane(Phase::prefill).wait_until_held();
  const auto large = harness.submit(prompt_request({1}, 100));                                // 7 pages, a short prompt
  const auto small = harness.submit(prompt_request(make_prompt(harness.spec(), 20, 2), 3));   // 2 pages: they are free
  CHECK_EQ(harness.engine().stats().waiting, 2);
  harness.lane(Phase::prefill).resume();
  const Outcome large_outcome = harness.wait(large);
  const Outcome small_outcome = harness.wait(small);
  CHECK(harness.wait(first).ok() && large_outcome.ok() && small_outcome.ok());
  CHECK(*small_outcome.end.timing.started_ms >= *large_outcome.end.timing.started_ms);
}

TEST("a request that can never fit is refused at once, with the numbers") {
  Harness harness({.pages = 8, .max_model_len = 4000});
  // 100 + 49 tokens: 10 pages of 16.
  const std::string text = message_of(harness, prompt_request(make_prompt(harness.spec(), 100, 1), 50), ErrorCode::out_of_memory);
  for (const std::string number : {"10 KV pages of 16", "prompt 100 tokens", "maxTokens 50", "n 1", "the cache has 8"}) CHECK(holds(text, number));
  // 20 tokens, 20 more each: 3 pages, and for each of the others 2, and a copy of the page where they part.
  RequestSpec request = prompt_request(make_prompt(harness.spec(), 20, 1), 21);
  request.generate->choices = 4;
  CHECK(holds(message_of(harness, request, ErrorCode::out_of_memory), "10 KV pages"));
  request.generate->choices = 3;
  check_outcome(harness.run(request), harness.spec(), request.tokens, *request.generate);
  // Exactly all pages fit.
  const RequestSpec full = prompt_request(make_prompt(harness.spec(), 100, 1), 29);
  check_outcome(harness.run(full), harness.spec(), full.tokens, *full.generate);
}

TEST("a refused call leaves the held sequence as it was") {
  for (const std::size_t length : {20, 32}) {
    Harness harness({.pages = 6, .max_model_len = 300});
    const auto prompt = make_prompt(harness.spec(), length, 1);
    const auto sequence = harness.hold(prompt);
    message_of(harness, held_request(sequence, make_prompt(harness.spec(), 50, 2), 50), ErrorCode::out_of_memory);
    message_of(harness, held_request(sequence, {}, 200), ErrorCode::out_of_memory);
    message_of(harness, held_request(sequence, make_prompt(harness.spec(), 300, 2), 1), ErrorCode::prompt_too_long);
    message_of(harness, held_request(sequence, {-1}, 1), ErrorCode::invalid_option);
    CHECK_EQ(harness.pages().used, 2);
    const RequestSpec request = held_request(sequence, {3, 4}, 12);
    check_outcome(harness.run(request), harness.spec(), joined(prompt, {3, 4}), *request.generate);
  }
}

TEST("a reservation is enough: choices that part in a shared page fill the cache to its last page") {
  for (const Schedule schedule : kSchedules) {
    for (const std::size_t length : {15, 16, 17, 20, 31}) {
      for (const std::uint32_t choices : {1u, 2u, 5u}) {
        RequestSpec request = prompt_request(make_prompt(make_spec(), length, 1), 34);
        request.generate->choices = choices;
        request.generate->sampling.temperature = 20;
        // What one choice needs in all, and what the others need from the page on in which they part.
        const std::int64_t all = (std::int64_t(length) + 33 + 15) / 16, kept = std::int64_t(length) / 16;
        const std::int64_t pages = all + (choices - 1) * (all - kept) + (choices > 1 && length % 16 != 0 ? 1 : 0);
        Harness harness({.schedule = schedule, .max_batch_tokens = 32, .pages = pages});
        for (int i = 0; i < 2; i++) check_outcome(harness.run(request), harness.spec(), request.tokens, *request.generate);
        CHECK_EQ(harness.pages().free, pages);
      }
    }
  }
}

TEST("a fork that writes has the page of its copy reserved") {
  Harness harness({.schedule = Schedule::split, .pages = 6});
  const auto prompt = make_prompt(harness.spec(), 20, 1);
  const auto parent = harness.hold(prompt);  // 2 pages
  const auto child = harness.engine().fork(parent);
  const RequestSpec one = held_request(parent, {}, 13), other = held_request(child, {5}, 12);  // up to 32 tokens each
  const auto first = harness.submit(one), second = harness.submit(other);
  const RequestSpec third = prompt_request(make_prompt(harness.spec(), 20, 2), 30);  // 4 pages: waits for the forks' end
  const auto waiting = harness.submit(third);
  check_outcome(harness.wait(first), harness.spec(), prompt, *one.generate);
  check_outcome(harness.wait(second), harness.spec(), joined(prompt, {5}), *other.generate);
  harness.engine().release(parent);
  harness.engine().release(child);
  check_outcome(harness.wait(waiting), harness.spec(), third.tokens, *third.generate);
}

TEST("what a request had reserved and not used is given back when it ends early") {
  Harness harness({.pages = 10});
  RequestSpec request = prompt_request(make_prompt(harness.spec(), 20, 1), 140);
  request.generate->end_token_ids = {reference_tokens(harness.spec(), request.tokens, *request.generate)[3]};
  for (int i = 0; i < 3; i++) check_outcome(harness.run(request), harness.spec(), request.tokens, *request.generate);
  const auto aborted = harness.submit(request);
  harness.engine().abort(aborted);
  (void)harness.wait(aborted);
  check_outcome(harness.run(request), harness.spec(), request.tokens, *request.generate);
}

TEST("no more choices run together than maxSequences") {
  for (const Schedule schedule : kSchedules) {
    Harness harness({.schedule = schedule, .max_sequences = 3});
    std::vector<std::uint64_t> ids;
    for (std::uint64_t i = 0; i < 9; i++) {
      RequestSpec request = prompt_request(make_prompt(harness.spec(), 5 + i, i), 12);
      request.generate->choices = 1 + std::uint32_t(i % 3);
      ids.push_back(harness.submit(request));
    }
    for (const auto id : ids) CHECK(harness.wait(id).ok());
    for (const TimelineEvent& event : harness.engine().timeline(1000)) {
      CHECK(event.phase == Phase::prefill || event.requests.size() <= 3);
    }
  }
}

TEST("higher priority goes first, then the shorter prompt") {
  Harness harness({.schedule = Schedule::sequential, .max_sequences = 1});
  harness.lane(Phase::prefill).hold(OpKind::embed);
  const auto first = harness.submit(prompt_request({1}, 1));
  harness.lane(Phase::prefill).wait_until_held();
  RequestSpec request = prompt_request(make_prompt(harness.spec(), 500, 1), 1);
  const auto longer = harness.submit(request);
  request.priority = 1;
  const auto urgent = harness.submit(request);
  const auto shorter = harness.submit(prompt_request({1}, 1));
  harness.lane(Phase::prefill).resume();
  for (const auto id : {first, longer, urgent, shorter}) CHECK(harness.wait(id).ok());
  // By then the longer one may have waited for the difference of 499 tokens, if this thread was stopped for so long.
  const double waited = harness.wait(shorter).end.timing.submitted_ms - harness.wait(longer).end.timing.submitted_ms;
  if (waited < 499) CHECK_EQ(harness.sink().order_of_ends(), std::vector<std::uint64_t>({first, urgent, shorter, longer}));
}

TEST("bad requests are refused with the reason, and leave the engine at work") {
  Harness harness({.max_sequences = 4, .max_model_len = 64});
  CHECK(holds(message_of(harness, prompt_request({}, 1), ErrorCode::invalid_option), "empty"));
  CHECK(holds(message_of(harness, prompt_request({61}, 1), ErrorCode::invalid_option), "61"));
  CHECK(holds(message_of(harness, prompt_request({-1}, 1), ErrorCode::invalid_option), "-1"));
  const std::string text = message_of(harness, prompt_request(make_prompt(harness.spec(), 64, 1), 1), ErrorCode::prompt_too_long);
  CHECK(holds(text, "64 tokens") && holds(text, "63"));
  RequestSpec request = prompt_request({1}, 1);
  request.generate->max_tokens = 0;
  message_of(harness, request, ErrorCode::invalid_option);
  request.generate->max_tokens = 1;
  for (const std::uint32_t choices : {0u, 5u, 4000000000u}) {
    request.generate->choices = choices;
    message_of(harness, request, ErrorCode::invalid_option);
  }
  request.generate->choices = 2;
  request.keep = true;
  message_of(harness, request, ErrorCode::invalid_option);
  CHECK(harness.run(prompt_request(make_prompt(harness.spec(), 63, 1), 1)).ok());
}
