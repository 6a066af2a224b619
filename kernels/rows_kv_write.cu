// Instances of the write of keys and values: element type of the activations, then of the cache.
#include "rows_kv_write.cuh"

using namespace splitwiser;

SPLITWISER_KERNEL(kv_write_f32_f32, KvWriteParams, 128, 5) { rows::kv_write_body<float, float>(params); }
SPLITWISER_KERNEL(kv_write_f32_f16, KvWriteParams, 128, 5) { rows::kv_write_body<float, ptx::F16>(params); }
SPLITWISER_KERNEL(kv_write_f32_bf16, KvWriteParams, 128, 5) { rows::kv_write_body<float, ptx::BF16>(params); }
SPLITWISER_KERNEL(kv_write_f16_f32, KvWriteParams, 128, 5) { rows::kv_write_body<ptx::F16, float>(params); }
SPLITWISER_KERNEL(kv_write_f16_f16, KvWriteParams, 128, 5) { rows::kv_write_body<ptx::F16, ptx::F16>(params); }
SPLITWISER_KERNEL(kv_write_f16_bf16, KvWriteParams, 128, 5) { rows::kv_write_body<ptx::F16, ptx::BF16>(params); }
SPLITWISER_KERNEL(kv_write_bf16_f32, KvWriteParams, 128, 5) { rows::kv_write_body<ptx::BF16, float>(params); }
SPLITWISER_KERNEL(kv_write_bf16_f16, KvWriteParams, 128, 5) { rows::kv_write_body<ptx::BF16, ptx::F16>(params); }
SPLITWISER_KERNEL(kv_write_bf16_bf16, KvWriteParams, 128, 5) { rows::kv_write_body<ptx::BF16, ptx::BF16>(params); }
