#include "addon/load_engine.hpp"

#include <utility>

#include "backend/cpu/cpu_backend.hpp"
#include "backend/cuda/cuda_backend.hpp"
#include "model/decoder.hpp"
#include "model/tensors.hpp"

namespace splitwiser::addon {
namespace {

DecoderWeights read_weights(LoadSpec& spec, Backend& backend, const LoadProgress& progress) {
  // The mapping goes when this returns: from here on a weight exists once in memory.
  const TensorTable tensors(spec.files, std::move(spec.tensors));
  return load_weights(spec.model, {tensors, backend, spec.storage, progress});
}

}  // namespace

std::unique_ptr<Engine> load_engine(LoadSpec spec, EventSink& sink, const LoadProgress& progress) {
  EngineParts parts;
  parts.backend = spec.cuda ? make_cuda_backend(*spec.cuda) : make_cpu_backend({.threads = spec.threads});
  parts.decoder = std::make_unique<Decoder>(spec.model, read_weights(spec, *parts.backend, progress));
  parts.vocabulary = std::move(spec.vocabulary);
  parts.kv = spec.kv;
  parts.max_model_len = spec.max_model_len;
  return std::make_unique<Engine>(std::move(parts), spec.engine, sink);
}

}  // namespace splitwiser::addon
