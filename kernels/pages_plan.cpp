#include "pages.hpp"

#include <algorithm>

namespace splitwiser {

LaunchPlan plan_page_copy(const PageCopyParams& params, const DeviceShape& device) {
  const std::int64_t units = std::int64_t(params.count) * params.layers * params.heads;
  return {"copy_pages", static_cast<std::uint32_t>(std::clamp<std::int64_t>(units, 0, std::int64_t(device.sms) * 16)), 128,
          0};
}

}  // namespace splitwiser
