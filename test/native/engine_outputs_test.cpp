// What a request can ask for beside tokens: logits, log-probabilities, text.
#include "engine_harness.hpp"

using namespace splitwiser;
using namespace splitwiser::fake;

namespace {

constexpr Schedule kSchedules[] = {Schedule::sequential, Schedule::chunked, Schedule::split};

std::vector<float> all_logits(const ModelSpec& spec, const std::vector<std::int32_t>& tokens, std::size_t first) {
  Reference reference(spec);
  std::vector<float> out;
  for (std::size_t i = 0; i < tokens.size(); i++) {
    reference.append(tokens[i]);
    if (i < first) continue;
    const auto row = reference.logits();
    out.insert(out.end(), row.begin(), row.end());
  }
  return out;
}

void check_logprob(const TokenLogprob& came, const std::vector<float>& logits, std::int32_t token, std::size_t top) {
  CHECK_EQ(came.token, token);
  CHECK(came.logprob == log_softmax_at(logits, token));
  std::vector<TokenLogprobValue> best;
  top_logprobs(std::span<const float>(logits), top, best);
  CHECK_EQ(came.top.size(), best.size());
  for (std::size_t i = 0; i < std::min(best.size(), came.top.size()); i++) {
    CHECK_EQ(came.top[i].token, best[i].token);
    CHECK(came.top[i].logprob == best[i].logprob);
  }
}

// One letter a token: 61 of A-Z, a-z, 0-9.
char letter(std::int32_t token) { return token < 26 ? char('A' + token) : token < 52 ? char('a' + token - 26) : char('0' + token - 52); }

std::shared_ptr<const Vocabulary> letters() {
  std::string bytes;
  std::vector<std::uint32_t> offsets{0};
  for (std::int32_t t = 0; t < 61; t++) {
    bytes += letter(t);
    offsets.push_back(std::uint32_t(bytes.size()));
  }
  return std::make_shared<const Vocabulary>(VocabularyKind::byte_level, bytes, offsets, std::vector<std::uint8_t>(61, 0));
}

std::string text_of(const std::vector<std::int32_t>& tokens) {
  std::string text;
  for (const std::int32_t token : tokens) text += letter(token);
  return text;
}

}  // namespace

TEST("logits of every prompt token are the reference's bits, however the prompt is cut and whatever runs beside it") {
  for (const Schedule schedule : kSchedules) {
    for (const std::int64_t max_batch_tokens : {1, 7, 64, 200}) {
      Harness harness({.schedule = schedule, .max_batch_tokens = max_batch_tokens});
      const auto neighbour = harness.submit(prompt_request(make_prompt(harness.spec(), 33, 7), 20));
      RequestSpec request;
      request.tokens = make_prompt(harness.spec(), 150, 3);  // more rows than one pass over the head takes
      request.logits = true;
      const Outcome outcome = harness.run(request);
      CHECK(outcome.ok());
      REQUIRE(outcome.end.logits.has_value());
      CHECK(*outcome.end.logits == all_logits(harness.spec(), request.tokens, 0));
      CHECK(harness.wait(neighbour).ok());
    }
  }
}

TEST("logits of a held sequence: those of what is appended, or of the last position") {
  for (const Schedule schedule : kSchedules) {
    Harness harness({.schedule = schedule, .max_batch_tokens = 5});
    auto tokens = make_prompt(harness.spec(), 20, 1);
    const auto sequence = harness.hold(tokens);
    RequestSpec last = held_request(sequence, {}, 0);
    last.last_logits = true;
    CHECK(harness.run(last).end.logits == reference_logits(harness.spec(), tokens));
    CHECK(harness.run(last).end.logits == reference_logits(harness.spec(), tokens));
    RequestSpec appended = held_request(sequence, make_prompt(harness.spec(), 13, 2), 0);
    appended.logits = true;
    tokens = joined(tokens, appended.tokens);
    CHECK(harness.run(appended).end.logits == all_logits(harness.spec(), tokens, 20));
    last.tokens = {4, 5, 6, 7, 8, 9};
    tokens = joined(tokens, last.tokens);
    CHECK(harness.run(last).end.logits == reference_logits(harness.spec(), tokens));
  }
}

TEST("nobody who asks for no logits gets any") {
  Harness harness({});
  const Outcome outcome = harness.run(prompt_request({1, 2, 3}, 4));
  CHECK(!outcome.end.logits && !outcome.end.prompt_logprobs);
  CHECK_EQ(outcome.choices.at(0).logprobs.size(), 0);
}

TEST("log-probabilities of tokens are the model's own, before penalties and temperature") {
  for (const std::int32_t top : {0, 1, 5, 100}) {
    Harness harness({.max_batch_tokens = 8});
    RequestSpec request = prompt_request(make_prompt(harness.spec(), 12, 2), 15);
    request.generate->logprobs = top;
    request.generate->choices = 2;
    request.generate->sampling.temperature = 20;
    request.generate->sampling.repetition_penalty = 1.3f;
    const Outcome outcome = harness.run(request);
    check_outcome(outcome, harness.spec(), request.tokens, *request.generate);
    for (const ChoiceOutcome& choice : outcome.choices) {
      CHECK_EQ(choice.logprobs.size(), choice.tokens.size());
      auto tokens = request.tokens;
      for (std::size_t i = 0; i < std::min(choice.tokens.size(), choice.logprobs.size()); i++) {
        check_logprob(choice.logprobs[i], reference_logits(harness.spec(), tokens), choice.tokens[i], std::size_t(top));
        tokens.push_back(choice.tokens[i]);
      }
    }
  }
}

TEST("prompt log-probabilities: none for the first token, each other from the tokens before it") {
  for (const Schedule schedule : kSchedules) {
    for (const std::size_t length : {1, 2, 16, 70}) {
      Harness harness({.schedule = schedule, .max_batch_tokens = 9});
      RequestSpec request = prompt_request(make_prompt(harness.spec(), length, 2), 3);
      request.prompt_logprobs = 2;
      const Outcome outcome = harness.run(request);
      check_outcome(outcome, harness.spec(), request.tokens, *request.generate);
      REQUIRE(outcome.end.prompt_logprobs.has_value());
      const auto& logprobs = *outcome.end.prompt_logprobs;
      REQUIRE(logprobs.size() == length);
      CHECK(!logprobs[0]);
      for (std::size_t i = 1; i < length; i++) {
        REQUIRE(logprobs[i].has_value());
        const std::vector<std::int32_t> before(request.tokens.begin(), request.tokens.begin() + std::ptrdiff_t(i));
        check_logprob(*logprobs[i], reference_logits(harness.spec(), before), request.tokens[i], 2);
      }
    }
  }
}

TEST("text comes with its tokens, and a stop string ends it across token borders") {
  const ModelSpec spec = make_spec();
  RequestSpec request = prompt_request(make_prompt(spec, 10, 5), 20);
  const auto tokens = reference_tokens(spec, request.tokens, *request.generate);
  const std::string text = text_of(tokens);
  for (const Schedule schedule : kSchedules) {
    Harness harness({.schedule = schedule, .vocabulary = letters()});
    const Outcome plain = harness.run(request);
    check_outcome(plain, spec, request.tokens, *request.generate);
    CHECK_EQ(plain.choices.at(0).text, text);

    RequestSpec stopping = request;
    stopping.generate->stop = {"no such text", text.substr(7, 3)};
    const std::size_t hit = text.find(stopping.generate->stop[1]);
    const Outcome stopped = harness.run(stopping);
    CHECK(stopped.ok());
    const ChoiceOutcome& choice = stopped.choices.at(0);
    CHECK(choice.finish_reason == FinishReason::stop);
    CHECK_EQ(std::get<std::string>(choice.stop_reason), stopping.generate->stop[1]);
    CHECK_EQ(choice.text, text.substr(0, hit));
    CHECK_EQ(choice.tokens, std::vector(tokens.begin(), tokens.begin() + std::ptrdiff_t(hit) + 3));
  }
}

TEST("a stop string does not count before minTokens, and an end token has no text") {
  const ModelSpec spec = make_spec();
  RequestSpec request = prompt_request(make_prompt(spec, 10, 5), 20);
  const auto tokens = reference_tokens(spec, request.tokens, *request.generate);
  const std::string text = text_of(tokens);
  Harness harness({.vocabulary = letters()});
  request.generate->stop = {text.substr(2, 2)};
  request.generate->min_tokens = 10;
  const std::size_t next = text.find(request.generate->stop[0], 9);
  CHECK_EQ(harness.run(request).choices.at(0).text, text.substr(0, next));

  request.generate->stop.clear();
  request.generate->min_tokens = 0;
  request.generate->end_token_ids = {tokens[6]};
  const Outcome ended = harness.run(request);
  check_outcome(ended, spec, request.tokens, *request.generate);
  CHECK_EQ(ended.choices.at(0).text, text_of(std::vector(ended.choices[0].tokens.begin(), ended.choices[0].tokens.end() - 1)));
}

TEST("text that a stop string holds back comes out at the end of the output") {
  const ModelSpec spec = make_spec();
  RequestSpec request = prompt_request(make_prompt(spec, 10, 5), 8);
  const std::string text = text_of(reference_tokens(spec, request.tokens, *request.generate));
  request.generate->stop = {text.substr(6) + "!"};  // its first two letters are held back
  Harness harness({.vocabulary = letters()});
  const Outcome outcome = harness.run(request);
  CHECK_EQ(outcome.choices.at(0).text, text);
  CHECK(outcome.choices[0].finish_reason == FinishReason::length);
}
