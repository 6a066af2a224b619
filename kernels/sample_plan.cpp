// How many blocks sample, and how wide they are. Neither changes a result.
#include "sample.hpp"

#include <algorithm>

namespace splitwiser {

namespace {

constexpr std::uint32_t kSampleSharedBytes = 48 * 1024;  // sizeof(sampling::Shared) of sample_block.cuh fits

LaunchPlan plan_rows(const char* kernel, const SampleParams& params, const DeviceShape& device) {
  // At least two warps: draw() narrows its range by one piece a warp.
  const std::uint32_t threads = params.vocab <= 1024 ? 64 : params.vocab <= 8192 ? 256 : 512;
  const std::int64_t per_sm = 2;
  const auto grid = std::clamp<std::int64_t>(params.vocab > 0 ? params.count : 0, 0, device.sms * per_sm);
  return {kernel, static_cast<std::uint32_t>(grid), threads, kSampleSharedBytes};
}

}  // namespace

std::int64_t sample_scratch_bytes(std::int64_t count, std::int64_t entries) { return count * 16 + (entries + 1) / 2 * 8; }

LaunchPlan plan_logprobs(const SampleParams& params, bool wanted, const DeviceShape& device) {
  LaunchPlan plan = plan_rows("logprobs", params, device);
  if (!wanted) plan.grid = 0;
  return plan;
}

LaunchPlan plan_sample(const SampleParams& params, const DeviceShape& device) { return plan_rows("sample", params, device); }

}  // namespace splitwiser
