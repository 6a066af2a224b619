#include "model/weights.hpp"

#include "model/families/families.hpp"

namespace splitwiser {

DecoderWeights load_weights(const ModelSpec& spec, const WeightLoading& loading) {
  DecoderWeights weights;
  Loader loader(loading, weights);
  switch (spec.family) {
    case Family::opt: load_opt(spec, loader, weights); break;
  }
  return weights;
}

}  // namespace splitwiser
