#include "backend/cuda/cost_model.hpp"

#include <algorithm>

namespace splitwiser::cuda {
namespace {

constexpr double kReached = 0.5;       // of the peak
constexpr double kLaunchSeconds = 3e-6;
constexpr double kUsualClock = 1.5e9;  // where the driver does not say
constexpr double kUsualBytes = 1e12;

double tensor_products(int arch) {
  if (arch >= 120 || arch == 86 || arch == 89) return 512;
  if (arch >= 100) return 4096;
  return arch >= 90 ? 2048 : 1024;
}

}  // namespace

CostModel::CostModel(const Device& device) {
  const double clock = 1e3 * device.attribute(CU_DEVICE_ATTRIBUTE_CLOCK_RATE);
  const double hertz = clock > 0 ? clock : kUsualClock;
  products_per_sm_[0] = kReached * hertz * (device.shape().arch == 80 ? 64 : 128);
  products_per_sm_[1] = kReached * hertz * tensor_products(device.shape().arch);
  // Memory sends on both edges of its clock.
  const double bytes = 2e3 * device.attribute(CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE) *
                       device.attribute(CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH) / 8;
  bytes_per_second_ = kReached * (bytes > 0 ? bytes : kUsualBytes);
}

double CostModel::seconds(double products, double bytes, DType dtype, int sms) const {
  const double rate = products_per_sm_[dtype == DType::f32 ? 0 : 1] * std::max(1, sms);
  return std::max({products / rate, bytes / bytes_per_second_, kLaunchSeconds});
}

}  // namespace splitwiser::cuda
