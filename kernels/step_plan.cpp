#include "step.hpp"

#include <algorithm>

namespace splitwiser {

namespace {

LaunchPlan plan_rows(const char* kernel, std::int64_t rows, const DeviceShape& device) {
  return {kernel, static_cast<std::uint32_t>(std::clamp<std::int64_t>((rows + 127) / 128, 0, device.sms)), 128, 0};
}

}  // namespace

LaunchPlan plan_step_feed(const StepFeedParams& params, const DeviceShape& device) {
  return plan_rows("step_feed", params.rows, device);
}

LaunchPlan plan_step_advance(const StepAdvanceParams& params, const DeviceShape& device) {
  return plan_rows("step_advance", params.rows, device);
}

LaunchPlan plan_step_patch(const StepPatchParams& params, const DeviceShape& device) {
  return plan_rows("step_patch", params.count, device);
}

}  // namespace splitwiser
