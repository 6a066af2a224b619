// Invariant 1 over the fake device: whatever runs beside a request, however its prompt is cut, it gives the tokens
// that its own token list gives.
#include "engine_harness.hpp"

using namespace splitwiser;
using namespace splitwiser::fake;

namespace {

constexpr Schedule kSchedules[] = {Schedule::sequential, Schedule::chunked, Schedule::split};

// Lengths around the borders of pages and chunks, and outputs of all sizes.
std::vector<RequestSpec> mixed_batch(const ModelSpec& spec, std::size_t size) {
  constexpr std::size_t kLengths[] = {1, 2, 15, 16, 17, 31, 32, 33, 5, 64, 65, 90, 7, 48, 3, 100, 20};
  constexpr std::int64_t kOutputs[] = {1, 2, 9, 16, 17, 5, 33};
  std::vector<RequestSpec> out;
  for (std::size_t i = 0; i < size; i++) {
    out.push_back(prompt_request(make_prompt(spec, kLengths[i % std::size(kLengths)], i), kOutputs[i % std::size(kOutputs)]));
  }
  return out;
}

void run_all(Harness& harness, const std::vector<RequestSpec>& specs) {
  std::vector<std::uint64_t> ids;
  for (const RequestSpec& spec : specs) ids.push_back(harness.submit(spec));
  for (std::size_t i = 0; i < ids.size(); i++) {
    check_outcome(harness.wait(ids[i]), harness.spec(), specs[i].tokens, *specs[i].generate);
  }
  CHECK_EQ(harness.pages().free, harness.pages().total);
}

// 20: lower is sampled away from the best token, higher is flat noise.
GenerateSpec sampled(std::uint64_t seed, std::int64_t max_tokens) {
  GenerateSpec generate;
  generate.max_tokens = max_tokens;
  generate.seed = seed;
  generate.sampling.temperature = 20;
  return generate;
}

}  // namespace

TEST("17 requests of mixed lengths give their own tokens in every schedule, step size and page size") {
  std::uint64_t seed = 0;
  for (const Schedule schedule : kSchedules) {
    for (const std::int64_t max_batch_tokens : {1, 3, 7, 64}) {
      for (const int page_size : {16, 32}) {
        Harness harness({.schedule = schedule, .max_batch_tokens = max_batch_tokens, .page_size = page_size, .seed = ++seed});
        run_all(harness, mixed_batch(harness.spec(), 17));
      }
    }
  }
}

TEST("keys and values of the other lane are read after its event only") {
  for (const Schedule schedule : kSchedules) {
    Harness harness({.schedule = schedule, .max_batch_tokens = 16});
    run_all(harness, {prompt_request(make_prompt(harness.spec(), 40, 1), 20), prompt_request({1, 2}, 20)});
  }
}

TEST("a prompt alone, one chunk or many, gives the same tokens") {
  const ModelSpec spec = make_spec();
  const auto prompt = make_prompt(spec, 77, 5);
  for (const Schedule schedule : kSchedules) {
    for (const std::int64_t max_batch_tokens : {1, 7, 16, 64, 100}) {
      Harness harness({.schedule = schedule, .max_batch_tokens = max_batch_tokens});
      run_all(harness, {prompt_request(prompt, 40)});
    }
  }
}

TEST("the form with norms last and a projected embedding gives its own tokens") {
  for (const Schedule schedule : kSchedules) {
    Harness harness({.schedule = schedule, .max_batch_tokens = 24, .form = Form::norms_last});
    run_all(harness, mixed_batch(harness.spec(), 6));
  }
}

TEST("more streams than rows of a step are decoded in turns") {
  for (const Schedule schedule : kSchedules) {
    Harness harness({.schedule = schedule, .max_batch_tokens = 2});
    std::vector<RequestSpec> specs;
    for (std::uint64_t i = 0; i < 9; i++) specs.push_back(prompt_request(make_prompt(harness.spec(), 2, i), 12));
    run_all(harness, specs);
  }
}

TEST("the same prompt and seed give the same tokens on every call") {
  const ModelSpec spec = make_spec();
  const auto prompt = make_prompt(spec, 21, 3);
  for (const Schedule schedule : kSchedules) {
    Harness harness({.schedule = schedule, .max_batch_tokens = 16});
    RequestSpec request = prompt_request(prompt, 1);
    request.generate = sampled(99, 25);
    const Outcome first = harness.run(request);
    check_outcome(first, spec, prompt, *request.generate);
    // Others in between and beside it: neither ids nor steps may enter the draw.
    const auto neighbour = harness.submit(prompt_request(make_prompt(spec, 50, 4), 30));
    const Outcome second = harness.run(request);
    check_outcome(second, spec, prompt, *request.generate);
    CHECK(harness.wait(neighbour).ok());
    request.generate->seed = 100;
    CHECK(harness.run(request).choices[0].tokens != first.choices[0].tokens);
  }
}

TEST("the draw is keyed by position: a continued sequence goes on as one long call would") {
  const ModelSpec spec = make_spec();
  const auto prompt = make_prompt(spec, 18, 8);
  const auto whole = reference_tokens(spec, prompt, sampled(7, 20));
  Harness harness({.max_batch_tokens = 8});
  RequestSpec request = held_request(harness.hold(prompt), {}, 1);
  request.generate = sampled(7, 8);
  const auto first = harness.run(request).choices.at(0).tokens;
  request.generate = sampled(7, 12);
  const auto second = harness.run(request).choices.at(0).tokens;
  CHECK_EQ(joined(first, second), whole);
}

TEST("the choices of one prompt are drawn apart, each as the reference draws it") {
  for (const Schedule schedule : kSchedules) {
    for (const std::size_t length : {1, 15, 16, 17, 40}) {
      Harness harness({.schedule = schedule, .max_batch_tokens = 9});
      RequestSpec request = prompt_request(make_prompt(harness.spec(), length, length), 1);
      request.generate = sampled(5, 20);
      request.generate->choices = 5;
      const Outcome outcome = harness.run(request);
      check_outcome(outcome, harness.spec(), request.tokens, *request.generate);
      REQUIRE(outcome.choices.size() == 5);
      CHECK(outcome.choices[0].tokens != outcome.choices[1].tokens);
    }
  }
}

TEST("choices that end at different tokens leave the others their pages") {
  Harness harness({.max_batch_tokens = 16});
  RequestSpec request = prompt_request(make_prompt(harness.spec(), 19, 2), 1);
  request.generate = sampled(11, 60);
  request.generate->choices = 6;
  for (std::int32_t token = 0; token < 6; token++) request.generate->end_token_ids.push_back(token);
  const auto neighbour = harness.submit(prompt_request(make_prompt(harness.spec(), 60, 1), 60));
  const Outcome outcome = harness.run(request);
  check_outcome(outcome, harness.spec(), request.tokens, *request.generate);
  for (const ChoiceOutcome& choice : outcome.choices) {
    CHECK(choice.finish_reason == (choice.tokens.size() < 60 ? FinishReason::stop : FinishReason::length));
  }
  CHECK(harness.wait(neighbour).ok());
}

TEST("penalties and bias see prompt and output of their own choice") {
  for (const Schedule schedule : kSchedules) {
    Harness harness({.schedule = schedule, .max_batch_tokens = 8});
    RequestSpec request = prompt_request(make_prompt(harness.spec(), 12, 6), 1);
    request.generate = sampled(21, 30);
    request.generate->choices = 3;
    request.generate->sampling.repetition_penalty = 1.5f;
    request.generate->sampling.presence_penalty = 2;
    request.generate->sampling.frequency_penalty = 1;
    request.generate->bias = {{3, 5.0f}, {4, -5.0f}};
    check_outcome(harness.run(request), harness.spec(), request.tokens, *request.generate);
  }
}

TEST("end ids and stop ids end a choice, and not before minTokens") {
  const ModelSpec spec = make_spec();
  const auto prompt = make_prompt(spec, 10, 12);
  GenerateSpec plain;
  plain.max_tokens = 12;
  const auto tokens = reference_tokens(spec, prompt, plain);
  Harness harness({});
  RequestSpec request = prompt_request(prompt, 12);
  request.generate->end_token_ids = {tokens[4]};
  const Outcome by_end = harness.run(request);
  check_outcome(by_end, spec, prompt, *request.generate);
  CHECK(by_end.choices[0].finish_reason == FinishReason::stop);
  CHECK(std::holds_alternative<std::monostate>(by_end.choices[0].stop_reason));

  request.generate->end_token_ids.clear();
  request.generate->stop_token_ids = {tokens[4]};
  const Outcome by_stop = harness.run(request);
  check_outcome(by_stop, spec, prompt, *request.generate);
  CHECK_EQ(std::get<std::int32_t>(by_stop.choices.at(0).stop_reason), tokens[4]);

  request.generate->min_tokens = 9;
  const Outcome later = harness.run(request);
  check_outcome(later, spec, prompt, *request.generate);
  CHECK(later.choices.at(0).tokens.size() >= 9);
}

TEST("maxTokens of 1 gives one token and computes no other") {
  Harness harness({});
  const Outcome outcome = harness.run(prompt_request(make_prompt(harness.spec(), 16, 1), 1));
  CHECK_EQ(outcome.choices.at(0).tokens.size(), 1);
  CHECK(outcome.choices[0].finish_reason == FinishReason::length);
  CHECK_EQ(harness.engine().stats().lanes[int(Phase::decode)].steps, 0);
}

TEST("output is cut to what maxModelLen leaves") {
  Harness harness({.max_model_len = 40});
  RequestSpec request = prompt_request(make_prompt(harness.spec(), 35, 1), 100);
  const Outcome outcome = harness.run(request);
  request.generate->max_tokens = 5;
  check_outcome(outcome, harness.spec(), request.tokens, *request.generate);
  CHECK(outcome.choices.at(0).finish_reason == FinishReason::length);
}
