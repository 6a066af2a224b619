// From a LoadSpec to a running engine; no JavaScript here, it runs on a thread of its own.
#pragma once

#include <memory>

#include "addon/load_spec.hpp"
#include "model/weights.hpp"

namespace splitwiser::addon {

// Throws what loading can meet: model_not_found, corrupt_file, unsupported_model, out_of_memory, aborted (progress said false).
[[nodiscard]] std::unique_ptr<Engine> load_engine(LoadSpec spec, EventSink& sink, const LoadProgress& progress);

}  // namespace splitwiser::addon
