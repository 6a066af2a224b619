// Attention over a cache of bf16.
#include "attention_kernels.cuh"

namespace splitwiser {

SPLITWISER_ATTENTIONS(bf16, ptx::BF16, 2)
SPLITWISER_BLOCK_DECODE(bf16, ptx::BF16, 64)
SPLITWISER_BLOCK_DECODE(bf16, ptx::BF16, 128)

}  // namespace splitwiser
