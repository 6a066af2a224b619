// How many blocks sample, and how wide they are. Neither changes a result.
#include "sample.hpp"

#include <algorithm>

namespace splitwiser {

namespace {

constexpr std::uint32_t kSampleSharedBytes = 48 * 1024;  // sizeof(sampling::Shared) of sample_block.cuh fits
// Rows shorter than that are gone over by one block in less time than two more launches take.
constexpr std::int64_t kLeastScanned = 65'536;
constexpr std::uint32_t kScanThreads = 128, kBinThreads = 256;

std::uint32_t grid_of(std::int64_t units, std::int64_t most) {
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(units, 0, most));
}

LaunchPlan plan_rows(const char* kernel, const SampleParams& params, const DeviceShape& device) {
  // At least two warps: draw() narrows its range by one piece a warp.
  const std::uint32_t threads = params.vocab <= 1024 ? 64 : params.vocab <= 8192 ? 256 : 512;
  return {kernel, grid_of(params.vocab > 0 ? params.count : 0, std::int64_t(device.sms) * 2), threads, kSampleSharedBytes};
}

}  // namespace

std::int64_t sample_scratch_bytes(std::int64_t count, std::int64_t entries) { return count * 16 + (entries + 1) / 2 * 8; }

std::int64_t sample_scan_bytes(std::int64_t count, std::int64_t vocab, const DeviceShape& device) {
  // With a row for every second multiprocessor all of them are at work anyway.
  const bool scanned = vocab >= kLeastScanned && count * 2 <= device.sms;
  return scanned ? count * scan_words(vocab) * 8 : 0;
}

LaunchPlan plan_logprobs(const SampleParams& params, bool wanted, const DeviceShape& device) {
  LaunchPlan plan = plan_rows("logprobs", params, device);
  if (!wanted) plan.grid = 0;
  return plan;
}

LaunchPlan plan_adjust(const SampleParams& params, bool wanted, const DeviceShape& device) {
  return {"adjust_logits", grid_of(wanted && params.vocab > 0 ? params.count : 0, std::int64_t(device.sms) * 4), 128, 0};
}

LaunchPlan plan_scan(const SampleParams& params, const DeviceShape& device) {
  constexpr std::int64_t kWarps = kScanThreads / 32;
  const std::int64_t pieces = params.scan != nullptr ? params.count * (scan_words(params.vocab) - kSampleBins) : 0;
  return {"scan_logits", grid_of((pieces + kWarps - 1) / kWarps, std::int64_t(device.sms) * 8), kScanThreads, 0};
}

LaunchPlan plan_bins(const SampleParams& params, const DeviceShape& device) {
  const std::int64_t parts = params.scan != nullptr ? params.count * bin_parts(params.vocab) : 0;
  return {"bin_logits", grid_of(parts, std::int64_t(device.sms) * 2), kBinThreads, kSampleSharedBytes};
}

LaunchPlan plan_sample(const SampleParams& params, const DeviceShape& device) { return plan_rows("sample", params, device); }

}  // namespace splitwiser
