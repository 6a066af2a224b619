// Attention over a cache of f16.
#include "attention_decode.cuh"
#include "attention_prefill.cuh"

namespace splitwiser {

#define SPLITWISER_ATTENTION(dim)                                                                          \
  SPLITWISER_KERNEL(attention_prefill_f16_d##dim, AttentionParams, (AttentionShape<2, dim>::kPrefillThreads), \
                    (AttentionShape<2, dim>::kPrefillBlocks)) {                                            \
    attention::prefill<ptx::F16, dim>(params);                                                            \
  }                                                                                                        \
  SPLITWISER_KERNEL(attention_decode_f16_d##dim, AttentionParams, (DecodeShape<AttentionShape<2, dim>, false>::kThreads),   \
                    (DecodeShape<AttentionShape<2, dim>, false>::kBlocks)) {                                             \
    attention::decode<ptx::F16, dim>(params);                                                             \
  }

SPLITWISER_ATTENTION(64)
SPLITWISER_ATTENTION(80)
SPLITWISER_ATTENTION(96)
SPLITWISER_ATTENTION(128)
SPLITWISER_ATTENTION(256)

#define SPLITWISER_BLOCK_DECODE(dim)                                                           \
  SPLITWISER_KERNEL(attention_decode_block_f16_d##dim, AttentionParams,                        \
                    (DecodeShape<AttentionShape<2, dim>, true>::kThreads),                    \
                    (DecodeShape<AttentionShape<2, dim>, true>::kBlocks)) {                    \
    attention::decode<ptx::F16, dim, true>(params);                                            \
  }

SPLITWISER_BLOCK_DECODE(64)
SPLITWISER_BLOCK_DECODE(128)

}  // namespace splitwiser
