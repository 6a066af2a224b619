// Thousands of calls at random: submit, continue, fork, truncate, release, abort, configure, in every schedule, with too few
// pages. Whatever happens, tokens are the reference's, and when all is over every page is free.
#include <algorithm>
#include <thread>

#include "engine_harness.hpp"

using namespace splitwiser;
using namespace splitwiser::fake;

namespace {

constexpr std::int64_t kMaxModelLen = 200;
constexpr std::int64_t kPages = 110;      // held sequences take 78 of them at most, the largest request 40
constexpr std::size_t kMaxHeld = 6;
constexpr std::size_t kMaxLive = 24;

class RandomUser {
 public:
  RandomUser(std::uint32_t seed, int steps_in_flight)
      : harness_({.max_batch_tokens = 24, .max_sequences = 16, .pages = kPages, .max_model_len = kMaxModelLen, .seed = seed,
                  .steps_in_flight = steps_in_flight}),
        chance_(seed) {}

  void act() {
    switch (below(16)) {
      case 0: case 1: case 2: case 3: case 4: submit_prompt(); break;
      case 5: case 6: continue_sequence(); break;
      case 7: case 8: fork(); break;
      case 9: truncate(); break;
      case 10: release(); break;
      case 11: case 12: abort(); break;
      case 13: configure(); break;
      default:
        if (!live_.empty()) settle(below(live_.size()));
    }
    while (live_.size() > kMaxLive) settle(below(live_.size()));
  }

  void finish() {
    while (!live_.empty()) settle(0);
    for (const auto& [handle, held] : held_) harness_.engine().release(handle);
    held_.clear();
    const EngineStats stats = harness_.engine().stats();
    CHECK_EQ(stats.waiting + stats.running + stats.held, 0);
    CHECK_EQ(stats.pages.free, kPages);
    CHECK(ended_well_ > 0 && aborted_ > 0 && disposed_ > 0 && late_ > 0 && refused_ > 0);
  }

 private:
  struct Live {
    std::uint64_t id;
    RequestSpec spec;
    std::vector<std::int32_t> past;  // what the sequence holds when generation begins
    bool may_fail = false;           // aborted or released by us, or with a deadline
  };
  struct Held {
    std::vector<std::int32_t> tokens;
    bool busy = false;
  };

  std::size_t below(std::size_t limit) { return std::size_t(chance_()) % limit; }
  bool one_in(std::size_t count) { return below(count) == 0; }
  std::vector<std::int32_t> some_tokens(std::size_t length) { return make_prompt(harness_.spec(), length, chance_()); }

  void decorate(RequestSpec& spec) {
    spec.priority = std::int32_t(below(3));
    if (one_in(12)) spec.deadline_ms = 0.01 + double(below(300)) / 100;
    if (!spec.generate) return;
    spec.generate->seed = chance_();
    if (one_in(2)) spec.generate->sampling.temperature = 20;
    if (one_in(4)) spec.generate->sampling.presence_penalty = 3;
    if (one_in(3)) spec.generate->end_token_ids = {1, 2, 3};
    if (one_in(3)) spec.generate->min_tokens = std::int64_t(below(8));
  }

  void submit(RequestSpec spec, std::vector<std::int32_t> past) {
    try {
      const auto id = harness_.submit(spec);
      if (spec.generate) {
        spec.generate->max_tokens = std::min(spec.generate->max_tokens, kMaxModelLen - std::int64_t(past.size()));
      }
      live_.push_back({id, spec, std::move(past), spec.deadline_ms > 0});
      if (spec.sequence != 0) held_.at(spec.sequence).busy = true;
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::prompt_too_long);
      CHECK(std::int64_t(past.size()) > kMaxModelLen - (spec.generate ? 1 : 0));
      refused_++;
    }
  }

  void submit_prompt() {
    const auto tokens = some_tokens(1 + (one_in(20) ? below(300) : below(60)));
    RequestSpec spec = prompt_request(tokens, std::int64_t(below(24)));
    if (spec.generate && one_in(3)) {
      spec.generate->choices = 1 + std::uint32_t(below(3));
    } else {
      // Some of these are not settled yet: count what they may become.
      std::size_t kept = held_.size();
      for (const Live& live : live_) kept += live.spec.keep && live.spec.sequence == 0 ? 1 : 0;
      spec.keep = kept < kMaxHeld;
    }
    decorate(spec);
    submit(std::move(spec), tokens);
  }

  // A random idle one.
  std::map<std::uint64_t, Held>::iterator idle() {
    std::vector<std::map<std::uint64_t, Held>::iterator> all;
    for (auto at = held_.begin(); at != held_.end(); ++at) {
      if (!at->second.busy) all.push_back(at);
    }
    return all.empty() ? held_.end() : all[below(all.size())];
  }

  void continue_sequence() {
    const auto at = idle();
    if (at == held_.end()) return;
    const auto tokens = some_tokens(below(20) + (at->second.tokens.empty() ? 1 : 0));
    RequestSpec spec = held_request(at->first, tokens, std::int64_t(below(16)));
    decorate(spec);
    submit(std::move(spec), joined(at->second.tokens, tokens));
  }

  void fork() {
    const auto at = idle();
    std::size_t kept = held_.size();
    for (const Live& live : live_) kept += live.spec.keep && live.spec.sequence == 0 ? 1 : 0;
    if (at == held_.end() || kept >= kMaxHeld) return;
    const Held copy = at->second;
    held_.emplace(harness_.engine().fork(at->first), copy);
  }

  void truncate() {
    const auto at = idle();
    if (at == held_.end()) return;
    at->second.tokens.resize(below(at->second.tokens.size() + 1));
    harness_.engine().truncate(at->first, std::int64_t(at->second.tokens.size()));
  }

  void release() {
    if (held_.empty() || !one_in(2)) return;
    const auto at = std::next(held_.begin(), std::ptrdiff_t(below(held_.size())));
    harness_.engine().release(at->first);
    for (Live& live : live_) {
      if (live.spec.sequence == at->first) live.may_fail = true;
    }
    held_.erase(at);
  }

  void abort() {
    if (live_.empty()) return;
    Live& live = live_[below(live_.size())];
    live.may_fail = true;
    harness_.engine().abort(live.id);
  }

  void configure() {
    EngineOptions options = harness_.options();
    options.schedule = Schedule(below(3));
    options.max_batch_tokens = 1 + std::int64_t(below(40));
    (void)harness_.engine().configure(options);
  }

  void settle(std::size_t index) {
    const Live live = std::move(live_[index]);
    live_.erase(live_.begin() + std::ptrdiff_t(index));
    const Outcome outcome = harness_.wait(live.id);
    if (const auto error = outcome.error()) {
      CHECK(live.may_fail);
      (error == ErrorCode::aborted ? aborted_ : error == ErrorCode::disposed ? disposed_ : late_)++;
      CHECK(error == ErrorCode::aborted || error == ErrorCode::disposed || error == ErrorCode::deadline);
    } else {
      ended_well_++;
    }
    if (live.spec.generate) check_tokens(live, outcome);
    settle_sequence(live, outcome);
  }

  void check_tokens(const Live& live, const Outcome& outcome) {
    CHECK_EQ(outcome.choices.size(), live.spec.generate->choices);
    for (std::size_t i = 0; i < outcome.choices.size(); i++) {
      const auto expected = reference_tokens(harness_.spec(), live.past, *live.spec.generate, std::uint32_t(i));
      const auto& tokens = outcome.choices[i].tokens;
      if (outcome.ok()) {
        CHECK_EQ(tokens, expected);
      } else {
        CHECK(tokens.size() <= expected.size() && std::equal(tokens.begin(), tokens.end(), expected.begin()));
      }
    }
  }

  void settle_sequence(const Live& live, const Outcome& outcome) {
    auto tokens = live.past;
    if (live.spec.generate) tokens = joined(tokens, outcome.choices.at(0).tokens);
    if (live.spec.sequence == 0) {
      CHECK((outcome.end.sequence != 0) == (live.spec.keep && outcome.ok()));
      if (outcome.end.sequence != 0) held_.emplace(outcome.end.sequence, Held{tokens, false});
    } else if (const auto at = held_.find(live.spec.sequence); at != held_.end()) {
      CHECK_EQ(outcome.end.sequence, live.spec.sequence);
      at->second = {tokens, false};
    }
  }

  Harness harness_;
  std::minstd_rand chance_;
  std::vector<Live> live_;
  std::map<std::uint64_t, Held> held_;
  std::int64_t ended_well_ = 0, aborted_ = 0, disposed_ = 0, late_ = 0, refused_ = 0;
};

}  // namespace

TEST("random calls in their thousands: tokens are the reference's and every page comes back") {
  for (const std::uint32_t seed : {1u, 20251u, 777u}) {
    for (const int steps_in_flight : {1, 3}) {
      RandomUser user(seed, steps_in_flight);
      for (int i = 0; i < 1200; i++) user.act();
      user.finish();
    }
  }
}

TEST("calls from several threads at once end each with its own tokens") {
  Harness harness({.max_batch_tokens = 24, .max_sequences = 12, .pages = 100});
  std::vector<std::thread> threads;
  for (std::uint64_t thread = 0; thread < 4; thread++) {
    threads.emplace_back([&harness, thread] {
      for (std::uint64_t i = 0; i < 25; i++) {
        RequestSpec request = prompt_request(make_prompt(harness.spec(), 1 + 7 * (i % 9), thread * 100 + i), 1 + std::int64_t(i));
        request.keep = i % 3 == 0;
        const auto id = harness.submit(request);
        if (i % 5 == 4) harness.engine().abort(id);
        if (i % 10 == 7) (void)harness.engine().configure(harness.options());
        (void)harness.engine().stats();
        (void)harness.engine().timeline(10);
        (void)harness.engine().info();
        const Outcome outcome = harness.wait(id);
        if (outcome.ok()) check_outcome(outcome, harness.spec(), request.tokens, *request.generate);
        CHECK(outcome.ok() || i % 5 == 4);
        if (outcome.end.sequence == 0) continue;
        const auto fork = harness.engine().fork(outcome.end.sequence);
        harness.engine().release(outcome.end.sequence);
        const RequestSpec next = held_request(fork, {}, 5);
        check_outcome(harness.run(next), harness.spec(), joined(request.tokens, outcome.choices.at(0).tokens), *next.generate);
        harness.engine().release(fork);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(harness.pages().free, harness.pages().total);
}
