// One function per family: brings its tensors, by their Hugging Face names, into the decoder's form.
#pragma once

#include "model/loader.hpp"

namespace splitwiser {

void load_opt(const ModelSpec& spec, Loader& loader, DecoderWeights& weights);

}  // namespace splitwiser
