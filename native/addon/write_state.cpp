#include "addon/convert.hpp"

namespace splitwiser::addon {
namespace {

Napi::Number number(Napi::Env env, double value) { return Napi::Number::New(env, value); }

Napi::Object write_lane(Napi::Env env, const LaneInfo& lane) {
  auto object = Napi::Object::New(env);
  object.Set("cores", number(env, lane.cores));
  object.Set("sms", number(env, lane.sms));
  object.Set("share", number(env, lane.share));
  return object;
}

Napi::Object write_lane_stats(Napi::Env env, const LaneStats& stats) {
  auto object = Napi::Object::New(env);
  object.Set("busyMs", number(env, stats.busy_ms));
  object.Set("steps", number(env, double(stats.steps)));
  return object;
}

// { prefill, decode }
template <typename Value, typename Write>
Napi::Object write_phases(Napi::Env env, const Value (&values)[kPhases], Write&& write) {
  auto object = Napi::Object::New(env);
  for (const Phase phase : {Phase::prefill, Phase::decode}) object.Set(name_of(phase), write(env, values[int(phase)]));
  return object;
}

}  // namespace

Napi::Object write_device(Napi::Env env, const CpuDevice& device) {
  auto object = Napi::Object::New(env);
  object.Set("name", device.name);
  object.Set("cores", number(env, device.cores));
  object.Set("isa", device.isa);
  auto isas = Napi::Array::New(env);
  for (const auto& isa : device.isas) isas.Set(isas.Length(), isa);
  object.Set("isas", isas);
  object.Set("memoryBytes", number(env, double(device.memory_bytes)));
  object.Set("availableBytes", number(env, double(device.available_bytes)));
  return object;
}

Napi::Array write_cuda_devices(Napi::Env env, const std::vector<CudaDevice>& devices) {
  auto array = Napi::Array::New(env);
  for (const CudaDevice& device : devices) {
    auto object = Napi::Object::New(env);
    object.Set("ordinal", number(env, device.ordinal));
    object.Set("reason", device.available ? "" : device.reason);
    object.Set("name", device.name);
    object.Set("arch", "sm_" + std::to_string(device.compute_capability));
    object.Set("sms", number(env, device.sms));
    object.Set("memoryBytes", number(env, double(device.memory_bytes)));
    object.Set("availableBytes", number(env, double(device.available_bytes)));
    const int version = device.driver_version;
    object.Set("driver", std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10));
    array.Set(array.Length(), object);
  }
  return array;
}

Napi::Object write_info(Napi::Env env, const EngineInfo& info, const std::string& isa) {
  auto memory = Napi::Object::New(env);
  memory.Set("weights", number(env, double(info.weight_bytes)));
  memory.Set("kv", number(env, double(info.kv_bytes)));
  memory.Set("activations", number(env, double(info.activation_bytes)));

  auto object = Napi::Object::New(env);
  object.Set("device", info.device);
  object.Set("isa", isa);
  object.Set("partition", name_of(info.partition));
  auto notes = Napi::Array::New(env);
  for (const auto& note : info.partition_notes) notes.Set(notes.Length(), note);
  object.Set("partitionNotes", notes);
  object.Set("lanes", write_phases(env, info.lanes, write_lane));
  object.Set("memory", memory);
  object.Set("parameters", number(env, double(info.parameters)));
  return object;
}

Napi::Object write_stats(Napi::Env env, const EngineStats& stats) {
  auto pages = Napi::Object::New(env);
  pages.Set("total", number(env, double(stats.pages.total)));
  pages.Set("free", number(env, double(stats.pages.free)));
  pages.Set("used", number(env, double(stats.pages.used)));
  pages.Set("cached", number(env, double(stats.pages.cached)));

  auto object = Napi::Object::New(env);
  object.Set("waiting", number(env, double(stats.waiting)));
  object.Set("running", number(env, double(stats.running)));
  object.Set("held", number(env, double(stats.held)));
  object.Set("pages", pages);
  object.Set("promptTokens", number(env, double(stats.prompt_tokens)));
  object.Set("generatedTokens", number(env, double(stats.generated_tokens)));
  object.Set("preemptions", number(env, double(stats.preemptions)));
  object.Set("lanes", write_phases(env, stats.lanes, write_lane_stats));
  object.Set("schedule", name_of(stats.schedule));
  object.Set("nowMs", number(env, stats.now_ms));
  return object;
}

Napi::Array write_timeline(Napi::Env env, const std::vector<TimelineEvent>& events) {
  auto array = Napi::Array::New(env, events.size());
  for (std::size_t i = 0; i < events.size(); i++) {
    const Napi::HandleScope scope(env);
    const TimelineEvent& event = events[i];
    auto requests = Napi::Array::New(env, event.requests.size());
    for (std::size_t r = 0; r < event.requests.size(); r++) {
      requests.Set(std::uint32_t(r), number(env, double(event.requests[r])));
    }
    auto object = Napi::Object::New(env);
    object.Set("lane", name_of(event.lane));
    object.Set("phase", name_of(event.phase));
    object.Set("startMs", number(env, event.start_ms));
    object.Set("endMs", number(env, event.end_ms));
    object.Set("requests", requests);
    object.Set("tokens", number(env, double(event.tokens)));
    object.Set("partition", name_of(event.partition));
    object.Set("sharedSms", event.shared_sms);
    array.Set(std::uint32_t(i), object);
  }
  return array;
}

}  // namespace splitwiser::addon
