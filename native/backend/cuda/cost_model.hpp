// How long work will take, roughly: enough to cut a prompt into groups of layers of about a millisecond.
//
// A roofline: a product of matrices takes the longer of its weights' way through memory and its multiplications, each at
// half of the device's peak; attention its multiplications. Peaks come from the clocks and the width of the memory bus as
// the driver says them, and from the products that one SM does in a clock (NVIDIA's architecture papers: f16 with f32
// sums 1,024 multiply-adds on 8.0, 512 on 8.6 to 8.9 and 12.0, 2,048 on 9.0, 4,096 on 10.0; f32 64 on 8.0, 128 elsewhere).
#pragma once

#include "backend/cuda/device.hpp"
#include "types.hpp"

namespace splitwiser::cuda {

class CostModel {
 public:
  explicit CostModel(const Device& device);
  // Seconds of `products` multiply-adds and `bytes` of weights on `sms` SMs.
  [[nodiscard]] double seconds(double products, double bytes, DType dtype, int sms) const;

 private:
  double products_per_sm_[2];  // a second, f32 and 16 bit
  double bytes_per_second_;
};

}  // namespace splitwiser::cuda
