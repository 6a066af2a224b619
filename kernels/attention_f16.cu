// Attention over a cache of f16.
#include "attention_kernels.cuh"

namespace splitwiser {

SPLITWISER_ATTENTIONS(f16, ptx::F16, 2)
SPLITWISER_BLOCK_DECODE(f16, ptx::F16, 64)
SPLITWISER_BLOCK_DECODE(f16, ptx::F16, 128)

}  // namespace splitwiser
