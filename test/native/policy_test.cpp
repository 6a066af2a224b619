#include "engine/policy.hpp"

#include "check.hpp"

using namespace splitwiser;

namespace {

void check_budget(const LaneLoad& load, std::int64_t decode_rows, std::int64_t prompt_tokens) {
  const StepBudget budget = decide(load);
  CHECK_EQ(budget.decode_rows, decode_rows);
  CHECK_EQ(budget.prompt_tokens, prompt_tokens);
}

constexpr Schedule kSchedules[] = {Schedule::sequential, Schedule::chunked, Schedule::split};
constexpr Phase kLanes[] = {Phase::prefill, Phase::decode};

}  // namespace

TEST("without work no schedule plans a step") {
  for (const Schedule schedule : kSchedules) {
    for (const Phase lane : kLanes) {
      for (const bool busy : {false, true}) check_budget({schedule, lane, busy, 0, 0, 64}, 0, 0);
    }
  }
}

TEST("no step is planned that is larger than its budget or its load, whatever the load") {
  for (const Schedule schedule : kSchedules) {
    for (const Phase lane : kLanes) {
      for (const bool busy : {false, true}) {
        for (const std::int64_t decodable : {0, 1, 2, 3, 63, 64, 65, 1000}) {
          for (const std::int64_t prompt : {0, 1, 2, 15, 64, 65, 100000}) {
            for (const std::int64_t rows : {1, 2, 3, 4, 64, 512}) {
              const StepBudget budget = decide({schedule, lane, busy, decodable, prompt, rows});
              CHECK(budget.decode_rows >= 0 && budget.decode_rows <= decodable);
              CHECK(budget.prompt_tokens >= 0 && budget.prompt_tokens <= prompt);
              CHECK(budget.decode_rows + budget.prompt_tokens <= rows);
            }
          }
        }
      }
    }
  }
}

TEST("some lane has work in every schedule as long as there is any") {
  for (const Schedule schedule : kSchedules) {
    for (const std::int64_t decodable : {0, 1, 100}) {
      for (const std::int64_t prompt : {0, 1, 100}) {
        for (const std::int64_t rows : {1, 2, 64}) {
          if (decodable + prompt == 0) continue;
          std::int64_t planned = 0;
          for (const Phase lane : kLanes) {
            const StepBudget budget = decide({schedule, lane, false, decodable, prompt, rows});
            planned += budget.decode_rows + budget.prompt_tokens;
          }
          CHECK(planned > 0);
        }
      }
    }
  }
}

TEST("sequential gives the whole device to one phase, prompts first") {
  check_budget({Schedule::sequential, Phase::prefill, false, 5, 100, 64}, 0, 64);
  check_budget({Schedule::sequential, Phase::decode, false, 5, 100, 64}, 0, 0);
  check_budget({Schedule::sequential, Phase::prefill, false, 5, 0, 64}, 0, 0);
  check_budget({Schedule::sequential, Phase::decode, false, 5, 0, 64}, 5, 0);
  check_budget({Schedule::sequential, Phase::decode, false, 100, 0, 64}, 64, 0);
}

TEST("sequential lets no lane begin while the other runs") {
  for (const Phase lane : kLanes) {
    check_budget({Schedule::sequential, lane, true, 5, 0, 64}, 0, 0);
    check_budget({Schedule::sequential, lane, true, 0, 5, 64}, 0, 0);
    check_budget({Schedule::sequential, lane, true, 5, 5, 64}, 0, 0);
  }
}

TEST("chunked runs mixed steps on the decode lane alone") {
  check_budget({Schedule::chunked, Phase::prefill, false, 5, 100, 64}, 0, 0);
  check_budget({Schedule::chunked, Phase::decode, false, 5, 100, 64}, 5, 59);
  check_budget({Schedule::chunked, Phase::decode, false, 5, 10, 64}, 5, 10);
  check_budget({Schedule::chunked, Phase::decode, true, 5, 10, 64}, 0, 0);
}

TEST("chunked keeps a quarter of the step for prompts when streams would fill it") {
  check_budget({Schedule::chunked, Phase::decode, false, 64, 100, 64}, 48, 16);
  check_budget({Schedule::chunked, Phase::decode, false, 1000, 100, 64}, 48, 16);
  check_budget({Schedule::chunked, Phase::decode, false, 1000, 3, 64}, 61, 3);
  check_budget({Schedule::chunked, Phase::decode, false, 1000, 0, 64}, 64, 0);
  check_budget({Schedule::chunked, Phase::decode, false, 10, 10, 2}, 1, 1);
  check_budget({Schedule::chunked, Phase::decode, false, 10, 10, 3}, 2, 1);
}

TEST("chunked with one row a step decodes first") {
  check_budget({Schedule::chunked, Phase::decode, false, 4, 10, 1}, 1, 0);
  check_budget({Schedule::chunked, Phase::decode, false, 0, 10, 1}, 0, 1);
}

TEST("split gives each lane its own phase, whatever the other does") {
  for (const bool busy : {false, true}) {
    check_budget({Schedule::split, Phase::prefill, busy, 70, 100, 64}, 0, 64);
    check_budget({Schedule::split, Phase::prefill, busy, 70, 10, 64}, 0, 10);
    check_budget({Schedule::split, Phase::decode, busy, 70, 100, 64}, 64, 0);
    check_budget({Schedule::split, Phase::decode, busy, 7, 100, 64}, 7, 0);
  }
}

TEST("the shorter of two prompts goes first, until the longer has waited for their difference") {
  CHECK(prompt_rank(10, 0) < prompt_rank(20, 0));
  CHECK(prompt_rank(10, 50) < prompt_rank(20, 50));
  CHECK(prompt_rank(1000, 900) > prompt_rank(10, 0) - 1);
  CHECK(prompt_rank(1000, 1000) < prompt_rank(10, 0));
}

TEST("a prompt that waits is passed by no prompt that comes later and later") {
  bool passed = false;
  for (double now = 0; now < 5000; now += 100) passed = prompt_rank(4000, now) < prompt_rank(1, 0);
  CHECK(passed);
}
