#include "engine/generation.hpp"

namespace splitwiser {

SampleRow sample_row_for(const Request& request, const Choice& choice, std::int64_t row, std::int64_t position) {
  const GenerateSpec& generate = *request.spec.generate;
  SampleRow out{.row = row, .params = generate.sampling};
  out.counts = choice.counts;
  out.bias = generate.bias;
  out.endings = request.ending_ids;
  out.forbids_endings = choice.generated < generate.min_tokens;
  out.seed = generate.seed;
  out.choice = choice.index;
  out.position = std::uint32_t(position);
  out.top_logprobs = generate.logprobs;
  return out;
}

bool decodes_plainly(const Request& request, const Choice& choice, std::int64_t ahead) {
  const GenerateSpec& generate = *request.spec.generate;
  return !request.penalised() && generate.bias.empty() && generate.logprobs < 0 &&
         (request.ending_ids.empty() || choice.generated + ahead >= generate.min_tokens);
}

SampledToken advance(const std::shared_ptr<Request>& request, Choice& choice, SampleResult result) {
  const GenerateSpec& generate = *request->spec.generate;
  const std::int32_t token = result.token;
  SampledToken out{.choice = &choice, .request = request, .token = token, .logprob = {token, result.logprob, std::move(result.top)}};
  choice.generated++;
  if (request->penalised()) choice.count(token, false);

  const auto finish = [&](FinishReason reason, StopReason why) {
    out.finished = true;
    out.finish_reason = reason;
    out.stop_reason = std::move(why);
  };
  // The text of a token that ends a choice is not part of it.
  if (result.ending >= 0) {
    finish(FinishReason::stop, std::size_t(result.ending) < generate.end_token_ids.size() ? StopReason{} : StopReason{token});
  } else if (choice.text) {
    TextStep step = choice.text->push(token, choice.generated >= generate.min_tokens);
    out.text = std::move(step.text);
    if (step.stopped) finish(FinishReason::stop, generate.stop[std::size_t(step.stop_index)]);
  }
  if (!out.finished && choice.generated >= generate.max_tokens) finish(FinishReason::length, {});
  // What was held back comes out at the end, but nothing does after a stop string.
  if (out.finished && choice.text && !std::holds_alternative<std::string>(out.stop_reason)) {
    TextStep rest = choice.text->finish();
    out.text += rest.text;
  }
  return out;
}

}  // namespace splitwiser
