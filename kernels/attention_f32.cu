// Attention over a cache of f32.
#include "attention_kernels.cuh"

namespace splitwiser {

SPLITWISER_ATTENTIONS(f32, float, 4)

}  // namespace splitwiser
