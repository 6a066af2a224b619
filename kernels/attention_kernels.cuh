// The attention kernels of one type of cache. `type`: as in the kernels' names; `Type`: of the elements; `bytes`: of one.
#pragma once

#include "attention_decode.cuh"
#include "attention_prefill.cuh"

#define SPLITWISER_DECODE(name, Type, bytes, dim, block)                                              \
  SPLITWISER_KERNEL(name, AttentionParams, (DecodeShape<AttentionShape<bytes, dim>, block>::kThreads), \
                    (DecodeShape<AttentionShape<bytes, dim>, block>::kBlocks)) {                       \
    attention::decode<Type, dim, block>(params);                                                      \
  }

#define SPLITWISER_ATTENTION(type, Type, bytes, dim)                                      \
  SPLITWISER_KERNEL(attention_prefill_##type##_d##dim, AttentionParams,                   \
                    (AttentionShape<bytes, dim>::kPrefillThreads),                        \
                    (AttentionShape<bytes, dim>::kPrefillBlocks)) {                       \
    attention::prefill<Type, dim>(params);                                                \
  }                                                                                       \
  SPLITWISER_DECODE(attention_decode_##type##_d##dim, Type, bytes, dim, false)

#define SPLITWISER_BLOCK_DECODE(type, Type, dim) \
  SPLITWISER_DECODE(attention_decode_block_##type##_d##dim, Type, 2, dim, true)

#define SPLITWISER_ATTENTIONS(type, Type, bytes)  \
  SPLITWISER_ATTENTION(type, Type, bytes, 64)     \
  SPLITWISER_ATTENTION(type, Type, bytes, 80)     \
  SPLITWISER_ATTENTION(type, Type, bytes, 96)     \
  SPLITWISER_ATTENTION(type, Type, bytes, 128)    \
  SPLITWISER_ATTENTION(type, Type, bytes, 256)
