// load() of lib/native.ts.
#pragma once

#include "addon/napi.hpp"

namespace splitwiser::addon {

// (NativeLoad, onProgress, onEvents) -> { engine: Promise, cancel() }. Loading runs on a thread of its own.
[[nodiscard]] Napi::Value load(const Napi::CallbackInfo& info);

}  // namespace splitwiser::addon
