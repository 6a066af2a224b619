#include "addon/engine_wrap.hpp"

#include <utility>

#include "addon/addon_data.hpp"
#include "addon/convert.hpp"
#include "addon/errors.hpp"
#include "addon/fields.hpp"

namespace splitwiser::addon {
namespace {

// Drawn once at random; marks the objects that this class made.
constexpr napi_type_tag kTag = {0x5d1c9a7e40b84f36, 0xa2e8c3f1976d4b05};

}  // namespace

template <NativeEngine::Method method>
Napi::Value NativeEngine::call(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&] { return (this->*method)(info); });
}

Napi::Function NativeEngine::define(Napi::Env env) {
  return DefineClass(env, "NativeEngine",
                     {
                         InstanceMethod<&NativeEngine::call<&NativeEngine::submit>>("submit"),
                         InstanceMethod<&NativeEngine::call<&NativeEngine::abort>>("abort"),
                         InstanceMethod<&NativeEngine::call<&NativeEngine::fork>>("fork"),
                         InstanceMethod<&NativeEngine::call<&NativeEngine::truncate>>("truncate"),
                         InstanceMethod<&NativeEngine::call<&NativeEngine::release>>("release"),
                         InstanceMethod<&NativeEngine::call<&NativeEngine::configure>>("configure"),
                         InstanceMethod<&NativeEngine::call<&NativeEngine::info>>("info"),
                         InstanceMethod<&NativeEngine::call<&NativeEngine::stats>>("stats"),
                         InstanceMethod<&NativeEngine::call<&NativeEngine::timeline>>("timeline"),
                         InstanceMethod<&NativeEngine::call<&NativeEngine::dispose>>("dispose"),
                     });
}

NativeEngine::NativeEngine(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  const Napi::Env env = info.Env();
  auto* data = env.GetInstanceData<AddonData>();
  auto host = std::exchange(data->constructing, nullptr);
  if (!host) {
    throw to_js_error(env, {ErrorCode::invalid_option, "NativeEngine cannot be constructed: load() makes it"});
  }
  info.This().As<Napi::Object>().TypeTag(&kTag);
  host_ = std::move(host);
}

NativeEngine::~NativeEngine() {
  if (host_) host_->abandon();
}

NativeEngine* NativeEngine::Unwrap(Napi::Object object) {
  if (!object.IsObject() || !object.CheckTypeTag(&kTag)) {
    throw to_js_error(object.Env(), {ErrorCode::invalid_option, "this: expected a NativeEngine that load() made"});
  }
  return ObjectWrap::Unwrap(object);
}

Napi::Value NativeEngine::submit(const Napi::CallbackInfo& info) {
  // Reading may run the caller's getters, which may dispose the engine: it is asked for afterwards.
  static_cast<void>(host_->engine());
  RequestSpec request = read_request(info[0], host_->vocab());
  return Napi::Number::New(info.Env(), double(host_->submit(std::move(request))));
}

Napi::Value NativeEngine::abort(const Napi::CallbackInfo& info) {
  host_->engine().abort(read_id(info[0], "request"));
  return info.Env().Undefined();
}

Napi::Value NativeEngine::fork(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), double(host_->engine().fork(read_id(info[0], "sequence"))));
}

Napi::Value NativeEngine::truncate(const Napi::CallbackInfo& info) {
  const std::uint64_t sequence = read_id(info[0], "sequence");
  host_->engine().truncate(sequence, read_integer(info[1], "length", 0, kMaxSafeInteger));
  return info.Env().Undefined();
}

Napi::Value NativeEngine::release(const Napi::CallbackInfo& info) {
  host_->engine().release(read_id(info[0], "sequence"));
  return info.Env().Undefined();
}

Napi::Value NativeEngine::configure(const Napi::CallbackInfo& info) {
  static_cast<void>(host_->engine());
  const EngineOptions options = read_engine_options(info[0], "options");
  return host_->configure(options);
}

Napi::Value NativeEngine::info(const Napi::CallbackInfo& info) {
  return write_info(info.Env(), host_->engine().info(), host_->isa());
}

Napi::Value NativeEngine::stats(const Napi::CallbackInfo& info) {
  return write_stats(info.Env(), host_->engine().stats());
}

Napi::Value NativeEngine::timeline(const Napi::CallbackInfo& info) {
  const std::int64_t limit = read_integer(info[0], "limit", 0, kMaxSafeInteger);
  return write_timeline(info.Env(), host_->engine().timeline(std::size_t(limit)));
}

Napi::Value NativeEngine::dispose(const Napi::CallbackInfo&) { return host_->dispose(); }

Napi::Object make_native_engine(Napi::Env env, std::shared_ptr<EngineHost> host) {
  auto* data = env.GetInstanceData<AddonData>();
  data->constructing = std::move(host);
  try {
    return data->engine_class.New({});
  } catch (...) {
    data->constructing.reset();
    throw;
  }
}

}  // namespace splitwiser::addon
