#include "addon/load.hpp"

#include <memory>
#include <utility>

#include "addon/convert.hpp"
#include "addon/engine_host.hpp"
#include "addon/errors.hpp"
#include "addon/fields.hpp"

namespace splitwiser::addon {

Napi::Value load(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guard(env, [&]() -> Napi::Value {
    LoadSpec spec = read_load(info[0]);
    const Napi::Function on_progress = read_function(info[1], "onProgress");
    const Napi::Function on_events = read_function(info[2], "onEvents");
    const auto host = EngineHost::start(env, std::move(spec), on_progress, on_events);
    // Weak: a kept cancel() must not keep an engine.
    const auto cancel = [weak = std::weak_ptr<EngineHost>(host)](const Napi::CallbackInfo&) {
      if (const auto alive = weak.lock()) alive->cancel();
    };
    auto loading = Napi::Object::New(env);
    loading.Set("engine", host->loaded());
    loading.Set("cancel", Napi::Function::New(env, cancel, "cancel"));
    return loading;
  });
}

}  // namespace splitwiser::addon
