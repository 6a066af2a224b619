#include <cstring>
#include <memory>

#include "addon/convert.hpp"

namespace splitwiser::addon {
namespace {

// Node makes no array buffer of 4 GiB or more out of foreign memory on every version that we support.
constexpr std::size_t kMaxArrayBytes = (std::size_t(1) << 32) - 1;

Napi::Number number(Napi::Env env, double value) { return Napi::Number::New(env, value); }

const char* name_of_span(SpanPhase phase) {
  switch (phase) {
    case SpanPhase::queued: return "queued";
    case SpanPhase::prefill: return "prefill";
    case SpanPhase::decode: return "decode";
    case SpanPhase::preempted: return "preempted";
  }
  return "queued";
}

template <typename Array, typename Element>
Array write_elements(Napi::Env env, const std::vector<Element>& elements) {
  Array array = Array::New(env, elements.size());
  if (!elements.empty()) std::memcpy(array.Data(), elements.data(), elements.size() * sizeof(Element));
  return array;
}

// Hands the vector's own memory to JavaScript: results of hundreds of megabytes are not copied, and V8 allocates nothing
// (it ends the process when it cannot). Runtimes that refuse foreign memory get a copy.
Napi::Value write_large(Napi::Env env, std::vector<float> values) {
  if (values.empty()) return Napi::Float32Array::New(env, 0);
  const std::size_t count = values.size();
  auto owner = std::make_unique<std::vector<float>>(std::move(values));
  const auto destroy = [](napi_env, void*, void* hint) { delete static_cast<std::vector<float>*>(hint); };
  napi_value buffer = nullptr;
  const napi_status status = napi_create_external_arraybuffer(env, owner->data(), count * sizeof(float), destroy,
                                                              owner.get(), &buffer);
  if (status == napi_no_external_buffers_allowed) return write_elements<Napi::Float32Array>(env, *owner);
  // JavaScript owns the memory now. After a failure (the environment ends) nobody can tell whether the finalizer ran:
  // memory lost with a dying environment is the safe side.
  static_cast<void>(owner.release());
  if (status != napi_ok) throw Napi::Error::New(env);
  return Napi::Float32Array::New(env, count, Napi::ArrayBuffer(env, buffer), 0);
}

Napi::Object write_logprob(Napi::Env env, const TokenLogprob& logprob) {
  auto top = Napi::Array::New(env, logprob.top.size());
  for (std::size_t i = 0; i < logprob.top.size(); i++) {
    auto entry = Napi::Object::New(env);
    entry.Set("token", number(env, logprob.top[i].token));
    entry.Set("logprob", number(env, double(logprob.top[i].logprob)));
    top.Set(std::uint32_t(i), entry);
  }
  auto object = Napi::Object::New(env);
  object.Set("token", number(env, logprob.token));
  object.Set("logprob", number(env, double(logprob.logprob)));
  object.Set("top", top);
  return object;
}

Napi::Array write_logprobs(Napi::Env env, const std::vector<TokenLogprob>& logprobs) {
  auto array = Napi::Array::New(env, logprobs.size());
  for (std::size_t i = 0; i < logprobs.size(); i++) {
    const Napi::HandleScope scope(env);
    array.Set(std::uint32_t(i), write_logprob(env, logprobs[i]));
  }
  return array;
}

Napi::Array write_prompt_logprobs(Napi::Env env, const std::vector<std::optional<TokenLogprob>>& logprobs) {
  auto array = Napi::Array::New(env, logprobs.size());
  for (std::size_t i = 0; i < logprobs.size(); i++) {
    const Napi::HandleScope scope(env);
    array.Set(std::uint32_t(i), logprobs[i] ? Napi::Value(write_logprob(env, *logprobs[i])) : env.Null());
  }
  return array;
}

Napi::Object write_timing(Napi::Env env, const Timing& timing) {
  auto spans = Napi::Array::New(env, timing.spans.size());
  for (std::size_t i = 0; i < timing.spans.size(); i++) {
    const Span& span = timing.spans[i];
    auto entry = Napi::Object::New(env);
    entry.Set("phase", name_of_span(span.phase));
    entry.Set("startMs", number(env, span.start_ms));
    entry.Set("endMs", number(env, span.end_ms));
    entry.Set("lane", span.lane ? Napi::Value(Napi::String::New(env, name_of(*span.lane))) : env.Null());
    entry.Set("tokens", number(env, double(span.tokens)));
    spans.Set(std::uint32_t(i), entry);
  }
  auto object = Napi::Object::New(env);
  object.Set("submittedMs", number(env, timing.submitted_ms));
  object.Set("startedMs", timing.started_ms ? Napi::Value(number(env, *timing.started_ms)) : env.Null());
  object.Set("endMs", number(env, timing.end_ms));
  object.Set("tokenMs", write_elements<Napi::Float64Array>(env, timing.token_ms));
  object.Set("spans", spans);
  object.Set("prefillTokens", number(env, double(timing.prefill_tokens)));
  object.Set("decodeTokens", number(env, double(timing.decode_tokens)));
  object.Set("preemptions", number(env, double(timing.preemptions)));
  return object;
}

Napi::Value write_stop_reason(Napi::Env env, const StopReason& reason) {
  if (const auto* token = std::get_if<std::int32_t>(&reason)) return number(env, *token);
  if (const auto* text = std::get_if<std::string>(&reason)) return Napi::String::New(env, *text);
  return env.Null();
}

Napi::Value write_failure(Napi::Env env, const std::optional<Failure>& failure) {
  if (!failure) return env.Null();
  auto object = Napi::Object::New(env);
  object.Set("code", Napi::String::New(env, std::string(name_of(failure->code))));
  object.Set("message", failure->message);
  return object;
}

Napi::Object write(Napi::Env env, TokensEvent& event) {
  auto object = Napi::Object::New(env);
  object.Set("type", "tokens");
  object.Set("request", number(env, double(event.request)));
  object.Set("choice", number(env, event.choice));
  object.Set("tokens", write_elements<Napi::Int32Array>(env, event.tokens));
  object.Set("text", event.text);
  object.Set("logprobs", event.logprobs.empty() ? env.Null() : Napi::Value(write_logprobs(env, event.logprobs)));
  return object;
}

Napi::Object write(Napi::Env env, ChoiceEvent& event) {
  auto object = Napi::Object::New(env);
  object.Set("type", "choice");
  object.Set("request", number(env, double(event.request)));
  object.Set("choice", number(env, event.choice));
  object.Set("finishReason", name_of(event.finish_reason));
  object.Set("stopReason", write_stop_reason(env, event.stop_reason));
  object.Set("timing", write_timing(env, event.timing));
  return object;
}

Napi::Object write(Napi::Env env, EndEvent& event) {
  if (event.logits && event.logits->size() > kMaxArrayBytes / sizeof(float)) {
    event.error = Failure{ErrorCode::out_of_memory,
                          "the logits take " + std::to_string(event.logits->size() * sizeof(float)) +
                              " bytes, one array holds at most " + std::to_string(kMaxArrayBytes) +
                              ": ask for the logits of fewer tokens"};
    event.logits.reset();
  }
  auto object = Napi::Object::New(env);
  object.Set("type", "end");
  object.Set("request", number(env, double(event.request)));
  object.Set("error", write_failure(env, event.error));
  object.Set("sequence", number(env, double(event.sequence)));
  object.Set("promptTokens", number(env, double(event.prompt_tokens)));
  object.Set("cachedTokens", number(env, double(event.cached_tokens)));
  object.Set("timing", write_timing(env, event.timing));
  object.Set("promptLogprobs", event.prompt_logprobs
                                   ? Napi::Value(write_prompt_logprobs(env, *event.prompt_logprobs))
                                   : env.Null());
  object.Set("logits", event.logits ? write_large(env, std::move(*event.logits)) : env.Null());
  return object;
}

}  // namespace

Napi::Array write_events(Napi::Env env, std::vector<EngineEvent> events) {
  auto array = Napi::Array::New(env);
  std::uint32_t count = 0;
  for (EngineEvent& event : events) {
    const Napi::HandleScope scope(env);
    std::visit(
        [&](auto& known) {
          if constexpr (!std::is_same_v<std::decay_t<decltype(known)>, ConfiguredEvent>) {
            array.Set(count++, write(env, known));
          }
        },
        event);
  }
  return array;
}

}  // namespace splitwiser::addon
