// Held sequences: prefill, decode, append, truncate, fork, release.
#include "engine_harness.hpp"

using namespace splitwiser;
using namespace splitwiser::fake;

namespace {

constexpr Schedule kSchedules[] = {Schedule::sequential, Schedule::chunked, Schedule::split};

// Runs a call on a held sequence and checks its tokens; `tokens` is what the sequence holds, before and after.
void decode(Harness& harness, std::uint64_t sequence, std::vector<std::int32_t>& tokens, std::int64_t max_tokens,
            const std::vector<std::int32_t>& appended = {}) {
  const RequestSpec request = held_request(sequence, appended, max_tokens);
  tokens = joined(tokens, appended);
  const Outcome outcome = harness.run(request);
  CHECK_EQ(outcome.end.sequence, sequence);
  if (max_tokens == 0) {
    CHECK(outcome.ok());
    return;
  }
  check_outcome(outcome, harness.spec(), tokens, *request.generate);
  tokens = joined(tokens, outcome.choices.at(0).tokens);
}

}  // namespace

TEST("a held sequence decodes again and again as one long call would") {
  for (const Schedule schedule : kSchedules) {
    for (const std::size_t length : {1, 15, 16, 17, 32, 45}) {
      Harness harness({.schedule = schedule, .max_batch_tokens = 16});
      auto tokens = make_prompt(harness.spec(), length, length);
      const auto sequence = harness.hold(tokens);
      for (const std::int64_t more : {1, 1, 14, 16, 3}) decode(harness, sequence, tokens, more);
      harness.engine().release(sequence);
      CHECK_EQ(harness.pages().free, harness.pages().total);
    }
  }
}

TEST("a generation that is kept goes on where it ended") {
  Harness harness({});
  RequestSpec request = prompt_request(make_prompt(harness.spec(), 14, 3), 5);
  request.keep = true;
  const Outcome outcome = harness.run(request);
  check_outcome(outcome, harness.spec(), request.tokens, *request.generate);
  REQUIRE(outcome.end.sequence != 0);
  auto tokens = joined(request.tokens, outcome.choices.at(0).tokens);
  decode(harness, outcome.end.sequence, tokens, 20, make_prompt(harness.spec(), 9, 8));
}

TEST("a truncated sequence goes on from its cut, also at the borders of pages") {
  for (const Schedule schedule : kSchedules) {
    for (const std::size_t cut : {1, 15, 16, 17, 31, 32, 33, 39, 40}) {
      Harness harness({.schedule = schedule, .max_batch_tokens = 7});
      auto tokens = make_prompt(harness.spec(), 40, 4);
      const auto sequence = harness.hold(tokens);
      harness.engine().truncate(sequence, std::int64_t(cut));
      CHECK_EQ(harness.pages().used, std::int64_t(cut + 15) / 16);
      tokens.resize(cut);
      decode(harness, sequence, tokens, 10);
      decode(harness, sequence, tokens, 5, make_prompt(harness.spec(), 20, 5));
    }
  }
}

TEST("a sequence truncated to nothing holds no page and takes a new prompt") {
  Harness harness({});
  const auto sequence = harness.hold(make_prompt(harness.spec(), 40, 4));
  harness.engine().truncate(sequence, 0);
  CHECK_EQ(harness.pages().used, 0);
  CHECK_THROWS_CODE(harness.submit(held_request(sequence, {}, 4)), ErrorCode::invalid_option);
  std::vector<std::int32_t> tokens;
  decode(harness, sequence, tokens, 6, make_prompt(harness.spec(), 18, 6));
}

TEST("a fork shares its parent's pages and costs none until it writes") {
  Harness harness({});
  auto parent_tokens = make_prompt(harness.spec(), 40, 1);
  const auto parent = harness.hold(parent_tokens);
  CHECK_EQ(harness.pages().used, 3);
  const auto child = harness.engine().fork(parent);
  CHECK_EQ(harness.pages().used, 3);
  CHECK_EQ(harness.engine().stats().held, 2);
  auto child_tokens = parent_tokens;
  decode(harness, child, child_tokens, 0, {5});
  CHECK_EQ(harness.pages().used, 4);  // the last page, copied
  decode(harness, parent, parent_tokens, 3);
  CHECK_EQ(harness.pages().used, 4);  // the parent is the last page's only owner now
  harness.engine().release(parent);
  CHECK_EQ(harness.pages().used, 3);
  decode(harness, child, child_tokens, 3);
}

TEST("forks that write copy their page first: parent and children keep their own tokens") {
  for (const Schedule schedule : kSchedules) {
    for (const std::size_t length : {1, 15, 16, 17, 31, 40}) {
      Harness harness({.schedule = schedule, .max_batch_tokens = 8, .seed = length});
      const auto prompt = make_prompt(harness.spec(), length, 2);
      const auto parent = harness.hold(prompt);
      std::vector<std::uint64_t> sequences{parent};
      for (int i = 0; i < 4; i++) sequences.push_back(harness.engine().fork(i % 2 == 0 ? parent : sequences.back()));
      std::vector<RequestSpec> specs;
      std::vector<std::uint64_t> ids;
      for (std::size_t i = 0; i < sequences.size(); i++) {
        specs.push_back(held_request(sequences[i], make_prompt(harness.spec(), i * 3, i), 20));
        ids.push_back(harness.submit(specs.back()));
      }
      for (std::size_t i = 0; i < ids.size(); i++) {
        check_outcome(harness.wait(ids[i]), harness.spec(), joined(prompt, specs[i].tokens), *specs[i].generate);
      }
    }
  }
}

TEST("a fork may write while its parent is read by the other lane") {
  Harness harness({.schedule = Schedule::split});
  const auto prompt = make_prompt(harness.spec(), 24, 2);
  const auto parent = harness.hold(prompt);
  const auto child = harness.engine().fork(parent);
  const RequestSpec parent_request = held_request(parent, {}, 20);
  const RequestSpec child_request = held_request(child, {3, 1, 4}, 20);
  harness.lane(Phase::decode).hold(OpKind::attention);
  const auto parent_id = harness.submit(parent_request);
  harness.lane(Phase::decode).wait_until_held();  // the parent's second token
  const auto child_id = harness.submit(child_request);
  harness.sink().wait_for_tokens(child_id, 1);    // prefilled beside it
  harness.lane(Phase::decode).resume();
  check_outcome(harness.wait(parent_id), harness.spec(), prompt, *parent_request.generate);
  check_outcome(harness.wait(child_id), harness.spec(), joined(prompt, child_request.tokens), *child_request.generate);
}

TEST("a page that is being copied is not given away when its other owner goes") {
  Harness harness({.schedule = Schedule::split});
  const auto prompt = make_prompt(harness.spec(), 24, 2);
  const RequestSpec stream_request = prompt_request(make_prompt(harness.spec(), 10, 7), 90);
  harness.lane(Phase::decode).hold(OpKind::embed);
  const auto stream = harness.submit(stream_request);
  harness.lane(Phase::decode).wait_until_held();
  const auto parent = harness.hold(prompt);
  const auto child = harness.engine().fork(parent);
  const RequestSpec child_request = held_request(child, {3}, 20);
  harness.lane(Phase::prefill).hold(OpKind::copy_pages);
  const auto id = harness.submit(child_request);
  harness.lane(Phase::prefill).wait_until_held();
  const std::int64_t free = harness.pages().free;
  harness.engine().release(parent);
  CHECK_EQ(harness.pages().free, free);
  // The stream on the other lane takes pages as it grows.
  harness.lane(Phase::decode).resume();
  check_outcome(harness.wait(stream), harness.spec(), stream_request.tokens, *stream_request.generate);
  harness.lane(Phase::prefill).resume();
  check_outcome(harness.wait(id), harness.spec(), joined(prompt, {3}), *child_request.generate);
}

TEST("a busy sequence refuses every call but release, and an unknown one every call") {
  Harness harness({.schedule = Schedule::split});
  auto tokens = make_prompt(harness.spec(), 24, 2);
  const auto sequence = harness.hold(tokens);
  harness.lane(Phase::prefill).hold(OpKind::embed);
  const auto id = harness.submit(held_request(sequence, {1}, 4));
  harness.lane(Phase::prefill).wait_until_held();
  CHECK_THROWS_CODE(harness.submit(held_request(sequence, {2}, 4)), ErrorCode::invalid_option);
  CHECK_THROWS_CODE(harness.engine().fork(sequence), ErrorCode::invalid_option);
  CHECK_THROWS_CODE(harness.engine().truncate(sequence, 1), ErrorCode::invalid_option);
  harness.lane(Phase::prefill).resume();
  CHECK(harness.wait(id).ok());
  CHECK_THROWS_CODE(harness.engine().truncate(sequence, 30), ErrorCode::invalid_option);
  CHECK_THROWS_CODE(harness.engine().truncate(sequence, -1), ErrorCode::invalid_option);
  CHECK_THROWS_CODE(harness.engine().fork(99), ErrorCode::invalid_option);
  CHECK_THROWS_CODE(harness.engine().truncate(99, 0), ErrorCode::invalid_option);
  CHECK_THROWS_CODE(harness.engine().release(99), ErrorCode::invalid_option);
  CHECK_THROWS_CODE(harness.submit(held_request(99, {1}, 4)), ErrorCode::invalid_option);
  RequestSpec several = held_request(sequence, {1}, 4);
  several.generate->choices = 2;
  CHECK_THROWS_CODE(harness.submit(several), ErrorCode::invalid_option);
  harness.engine().release(sequence);
  CHECK_THROWS_CODE(harness.engine().release(sequence), ErrorCode::invalid_option);
}

TEST("release of a busy sequence ends its request with DISPOSED and frees its pages once the step has ended") {
  for (const Phase lane : {Phase::prefill, Phase::decode}) {
    Harness harness({.schedule = Schedule::split});
    const auto sequence = harness.hold(make_prompt(harness.spec(), 24, 2));
    harness.lane(lane).hold(OpKind::attention);
    const auto id = harness.submit(held_request(sequence, make_prompt(harness.spec(), 20, 3), 4));
    harness.lane(lane).wait_until_held();
    const std::int64_t used = harness.pages().used;
    harness.engine().release(sequence);
    CHECK(!harness.sink().ended(id));
    CHECK_EQ(harness.pages().used, used);
    harness.lane(lane).resume();
    const Outcome outcome = harness.wait(id);
    CHECK(outcome.error() == ErrorCode::disposed);
    CHECK_EQ(outcome.end.sequence, 0);
    CHECK_EQ(harness.pages().used, 0);
    CHECK_THROWS_CODE(harness.engine().release(sequence), ErrorCode::invalid_option);
  }
}

TEST("what was appended before an abort stays and is computed by the next call") {
  for (const Schedule schedule : kSchedules) {
    const Phase lane = schedule == Schedule::chunked ? Phase::decode : Phase::prefill;
    Harness harness({.schedule = schedule, .max_batch_tokens = 16});
    auto tokens = make_prompt(harness.spec(), 24, 2);
    const auto appended = make_prompt(harness.spec(), 40, 3);
    const auto sequence = harness.hold(tokens);
    harness.lane(lane).hold(OpKind::attention);
    const auto id = harness.submit(held_request(sequence, appended, 4));
    harness.lane(lane).wait_until_held();
    harness.engine().abort(id);
    harness.lane(lane).resume();
    const Outcome outcome = harness.wait(id);
    CHECK(outcome.error() == ErrorCode::aborted);
    CHECK_EQ(outcome.end.sequence, sequence);
    tokens = joined(tokens, appended);
    decode(harness, sequence, tokens, 10, {1, 2});
  }
}
