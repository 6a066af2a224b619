// Attention over a cache of f32.
#include "attention_decode.cuh"
#include "attention_prefill.cuh"

namespace splitwiser {

#define SPLITWISER_ATTENTION(dim)                                                                          \
  SPLITWISER_KERNEL(attention_prefill_f32_d##dim, AttentionParams, (AttentionShape<4, dim>::kPrefillThreads), \
                    (AttentionShape<4, dim>::kPrefillBlocks)) {                                            \
    attention::prefill<float, dim>(params);                                                            \
  }                                                                                                        \
  SPLITWISER_KERNEL(attention_decode_f32_d##dim, AttentionParams, (DecodeShape<AttentionShape<4, dim>, false>::kThreads),   \
                    (DecodeShape<AttentionShape<4, dim>, false>::kBlocks)) {                                             \
    attention::decode<float, dim>(params);                                                             \
  }

SPLITWISER_ATTENTION(64)
SPLITWISER_ATTENTION(80)
SPLITWISER_ATTENTION(96)
SPLITWISER_ATTENTION(128)
SPLITWISER_ATTENTION(256)

}  // namespace splitwiser
