// State of the addon in one environment (the main thread and each worker have their own).
#pragma once

#include <memory>

#include "addon/napi.hpp"

namespace splitwiser::addon {

class EngineHost;

struct AddonData {
  Napi::FunctionReference engine_class;
  // What the next NativeEngine is made for. Only load() fills it, so the class cannot be constructed from JavaScript.
  std::shared_ptr<EngineHost> constructing;
};

}  // namespace splitwiser::addon
