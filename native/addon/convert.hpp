// JavaScript values <-> native structs, as lib/native.ts has them. read_*: every precondition is checked, the error names
// the field (INVALID_OPTION). write_*: plain objects, typed arrays for numbers in bulk.
#pragma once

#include <vector>

#include "addon/load_spec.hpp"
#include "addon/napi.hpp"
#include "backend/cpu/cpu_backend.hpp"
#include "backend/cuda/cuda_backend.hpp"
#include "engine/types.hpp"

namespace splitwiser::addon {

// read_load.cpp
[[nodiscard]] LoadSpec read_load(const Napi::Value& value);
[[nodiscard]] EngineOptions read_engine_options(const Napi::Value& value, const std::string& path);

// read_request.cpp
// `vocab`: bound of token ids, so that no id from outside indexes past the logits.
[[nodiscard]] RequestSpec read_request(const Napi::Value& value, std::int64_t vocab);
// Ids of requests and sequences; 0 stands for none.
[[nodiscard]] std::uint64_t read_id(const Napi::Value& value, const std::string& name);

// write_event.cpp
// Moves large results out of the events. ConfiguredEvents are not for JavaScript and are left out.
[[nodiscard]] Napi::Array write_events(Napi::Env env, std::vector<EngineEvent> events);

// write_state.cpp
[[nodiscard]] Napi::Object write_device(Napi::Env env, const CpuDevice& device);
[[nodiscard]] Napi::Array write_cuda_devices(Napi::Env env, const std::vector<CudaDevice>& devices);
[[nodiscard]] Napi::Object write_info(Napi::Env env, const EngineInfo& info, const std::string& isa);
[[nodiscard]] Napi::Object write_stats(Napi::Env env, const EngineStats& stats);
[[nodiscard]] Napi::Array write_timeline(Napi::Env env, const std::vector<TimelineEvent>& events);

}  // namespace splitwiser::addon
