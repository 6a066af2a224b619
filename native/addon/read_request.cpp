#include <cmath>
#include <limits>

#include "addon/convert.hpp"
#include "addon/fields.hpp"

namespace splitwiser::addon {
namespace {

// More continuations of one prompt than this are a mistake, and each takes memory before anything is refused.
constexpr std::int64_t kMaxChoices = 16384;
constexpr double kMinFloat = std::numeric_limits<float>::min();
constexpr double kMaxFloat = std::numeric_limits<float>::max();

void check_tokens(const std::vector<std::int32_t>& tokens, std::int64_t vocab, const std::string& field) {
  for (std::size_t i = 0; i < tokens.size(); i++) {
    if (tokens[i] >= 0 && tokens[i] < vocab) continue;
    throw Error(ErrorCode::invalid_option, field + "[" + std::to_string(i) + "]: expected a token id from 0 to " +
                                               std::to_string(vocab - 1) + " (the vocabulary), got " +
                                               std::to_string(tokens[i]));
  }
}

std::vector<std::int32_t> read_tokens(const Fields& fields, const char* key, std::int64_t vocab) {
  auto tokens = fields.elements<std::int32_t>(key);
  check_tokens(tokens, vocab, fields.path(key));
  return tokens;
}

std::vector<TokenBias> read_bias(const Fields& fields, std::int64_t vocab) {
  const auto tokens = read_tokens(fields, "biasTokens", vocab);
  const auto values = fields.elements<float>("biasValues");
  if (tokens.size() != values.size()) {
    throw Error(ErrorCode::invalid_option, fields.path("biasValues") + ": expected " + std::to_string(tokens.size()) +
                                               " values, one for each of biasTokens, got " +
                                               std::to_string(values.size()));
  }
  std::vector<TokenBias> bias;
  bias.reserve(tokens.size());
  for (std::size_t i = 0; i < tokens.size(); i++) {
    if (std::isnan(values[i])) {
      throw Error(ErrorCode::invalid_option,
                  fields.path("biasValues") + "[" + std::to_string(i) + "]: expected a number, got NaN");
    }
    bias.push_back({tokens[i], values[i]});
  }
  return bias;
}

std::vector<std::string> read_stop(const Fields& fields) {
  std::vector<std::string> stop;
  fields.list("stop", [&](const Napi::Value& value, const std::string& field) {
    stop.push_back(read_text(value, field));
    if (stop.back().empty()) refuse(field, "a string of at least one character", value);
  });
  return stop;
}

SamplingParams read_sampling(const Fields& fields) {
  SamplingParams sampling;
  sampling.temperature = float(fields.number("temperature", 0, kMaxFloat));
  sampling.top_k = std::int32_t(fields.integer("topK", 0, kMaxInt32));
  sampling.top_p = fields.number("topP", 0, 1);
  sampling.min_p = float(fields.number("minP", 0, 1));
  sampling.repetition_penalty = float(fields.number("repetitionPenalty", kMinFloat, kMaxFloat));
  sampling.presence_penalty = float(fields.number("presencePenalty", -kMaxFloat, kMaxFloat));
  sampling.frequency_penalty = float(fields.number("frequencyPenalty", -kMaxFloat, kMaxFloat));
  return sampling;
}

GenerateSpec read_generate(const Fields& fields, std::int64_t vocab) {
  GenerateSpec generate;
  generate.max_tokens = fields.integer("maxTokens", 1, kMaxSafeInteger);
  generate.min_tokens = fields.integer("minTokens", 0, kMaxSafeInteger);
  generate.sampling = read_sampling(fields);
  generate.bias = read_bias(fields, vocab);
  generate.stop = read_stop(fields);
  generate.stop_token_ids = read_tokens(fields, "stopTokenIds", vocab);
  generate.end_token_ids = read_tokens(fields, "endTokenIds", vocab);
  generate.seed = fields.bigint("seed");
  generate.choices = std::uint32_t(fields.integer("n", 1, kMaxChoices));
  generate.logprobs = std::int32_t(fields.integer("logprobs", -1, kMaxInt32));
  return generate;
}

}  // namespace

RequestSpec read_request(const Napi::Value& value, std::int64_t vocab) {
  const Fields fields(value, "request");
  RequestSpec request;
  request.sequence = read_id(fields.get("sequence"), fields.path("sequence"));
  request.tokens = read_tokens(fields, "tokens", vocab);
  request.keep = fields.boolean("keep");
  const Napi::Value generate = fields.get("generate");
  if (!generate.IsNull()) request.generate = read_generate({generate, fields.path("generate")}, vocab);
  request.logits = fields.boolean("logits");
  request.last_logits = fields.boolean("lastLogits");
  request.prompt_logprobs = std::int32_t(fields.integer("promptLogprobs", -1, kMaxInt32));
  request.priority = std::int32_t(fields.integer("priority", -kMaxInt32 - 1, kMaxInt32));
  request.deadline_ms = fields.number("deadlineMs", 0, double(kMaxSafeInteger));
  return request;
}

std::uint64_t read_id(const Napi::Value& value, const std::string& name) {
  return std::uint64_t(read_integer(value, name, 0, kMaxSafeInteger));
}

}  // namespace splitwiser::addon
