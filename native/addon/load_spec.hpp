// What load() was asked for, in native words; lib/native.ts calls it NativeLoad.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/cuda/cuda_backend.hpp"
#include "engine/engine.hpp"
#include "model/spec.hpp"
#include "model/tensors.hpp"

namespace splitwiser::addon {

struct LoadSpec {
  std::optional<CudaOptions> cuda;               // nothing: the CPU. Its storage is the one below
  ModelSpec model;
  std::vector<std::string> files;
  std::vector<TensorEntry> tensors;
  DType storage = DType::f32;
  KvShape kv{};
  std::int64_t max_model_len = 0;
  int threads = 1;
  std::shared_ptr<const Vocabulary> vocabulary;  // null: ids only
  EngineOptions engine;
};

}  // namespace splitwiser::addon
