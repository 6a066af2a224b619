// Which attention kernel a step gets, and that it fits every device.
#include <cstdint>
#include <string>

#include "attention.hpp"
#include "check.hpp"

namespace splitwiser {
namespace {

constexpr DType kTypes[] = {DType::f32, DType::f16, DType::bf16};

TEST("few units of decode get a block each, many a warp each") {
  AttentionParams params{};
  params.heads = params.kv_heads = 12;
  params.max_kv_length = 600;
  params.step.segments = 3;  // 72 units
  for (const int dim : {64, 80, 96, 128, 256}) {
    params.head_dim = dim;
    for (const DType type : kTypes) {
      params.kv.dtype = type;
      const auto is_block = [&](int sms) {
        return std::string(plan_attention_decode(params, {sms, 90, 227 * 1024}).kernel).starts_with("attention_decode_block_");
      };
      CHECK_EQ(is_block(132), type != DType::f32 && (dim == 64 || dim == 128));
      CHECK(!is_block(8));
    }
  }
}

TEST("attention of nothing launches nothing, and every plan fits every device") {
  AttentionParams params{};
  params.heads = params.kv_heads = 8;
  params.head_dim = 64;
  params.kv.dtype = DType::f16;
  CHECK_EQ(plan_attention_prefill(params, {}).grid, 0U);
  CHECK_EQ(plan_attention_decode(params, {}).grid, 0U);
  params.step.segments = 40;
  params.max_kv_length = 5000;
  params.tile_count = 17;
  for (const DType type : kTypes) {
    for (const int dim : {32, 64, 80, 96, 128, 256}) {
      params.head_dim = dim;
      params.kv.dtype = type;
      CHECK_EQ(decode_arrivals(params), 40 * 8);
      CHECK_EQ(decode_partial_floats(params), std::int64_t(40) * 8 * 10 * (padded_head_dim(dim) + 4));
      for (const DeviceShape& device : {DeviceShape{108, 80, 163 * 1024}, DeviceShape{8, 86, 99 * 1024}, DeviceShape{132, 90, 227 * 1024}}) {
        for (const LaunchPlan& plan : {plan_attention_prefill(params, device), plan_attention_decode(params, device)}) {
          CHECK(plan.kernel != nullptr && plan.grid > 0 && plan.grid <= std::uint32_t(device.sms * 4));
          CHECK(plan.shared_bytes <= 99 * 1024 && plan.block % 32 == 0 && plan.block <= 256);
        }
      }
    }
  }
}

}  // namespace
}  // namespace splitwiser
