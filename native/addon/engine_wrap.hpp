// NativeEngine of lib/native.ts: the JavaScript object over an EngineHost.
#pragma once

#include <memory>

#include "addon/engine_host.hpp"
#include "addon/napi.hpp"

namespace splitwiser::addon {

class NativeEngine final : public Napi::ObjectWrap<NativeEngine> {
 public:
  [[nodiscard]] static Napi::Function define(Napi::Env env);

  explicit NativeEngine(const Napi::CallbackInfo& info);
  ~NativeEngine() override;

  // Hides ObjectWrap's: node-addon-api asks it for every `this`, and one that we did not make is refused.
  [[nodiscard]] static NativeEngine* Unwrap(Napi::Object object);

 private:
  using Method = Napi::Value (NativeEngine::*)(const Napi::CallbackInfo& info);
  template <Method method>
  Napi::Value call(const Napi::CallbackInfo& info);

  Napi::Value submit(const Napi::CallbackInfo& info);
  Napi::Value abort(const Napi::CallbackInfo& info);
  Napi::Value fork(const Napi::CallbackInfo& info);
  Napi::Value truncate(const Napi::CallbackInfo& info);
  Napi::Value release(const Napi::CallbackInfo& info);
  Napi::Value configure(const Napi::CallbackInfo& info);
  Napi::Value info(const Napi::CallbackInfo& info);
  Napi::Value stats(const Napi::CallbackInfo& info);
  Napi::Value timeline(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);

  std::shared_ptr<EngineHost> host_;
};

[[nodiscard]] Napi::Object make_native_engine(Napi::Env env, std::shared_ptr<EngineHost> host);

}  // namespace splitwiser::addon
