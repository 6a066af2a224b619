// The addon's entry: { cpu, cuda, load }. Runs once in each environment; nothing here is shared between them.
#include "addon/addon_data.hpp"
#include "addon/convert.hpp"
#include "addon/engine_wrap.hpp"
#include "addon/errors.hpp"
#include "addon/load.hpp"
#include "addon/napi.hpp"

namespace splitwiser::addon {
namespace {

Napi::Value cpu(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&] { return write_device(info.Env(), describe_cpu()); });
}

Napi::Value cuda(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&] { return write_cuda_devices(info.Env(), describe_cuda()); });
}

Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  auto data = std::make_unique<AddonData>();
  data->engine_class = Napi::Persistent(NativeEngine::define(env));
  env.SetInstanceData(data.release());
  exports.Set("cpu", Napi::Function::New<cpu>(env, "cpu"));
  exports.Set("cuda", Napi::Function::New<cuda>(env, "cuda"));
  exports.Set("load", Napi::Function::New<load>(env, "load"));
  return exports;
}

}  // namespace
}  // namespace splitwiser::addon

static Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  return splitwiser::addon::initialise(env, exports);
}

NODE_API_MODULE(splitwiser, initialise)
