// How a GEMM is planned: no device is asked.
#include "gemm.hpp"

#include "check.hpp"

namespace splitwiser {
namespace {

TEST("parts of K come from the weight alone, and every plan fits every device") {
  for (const std::int64_t m : {1, 256, 768, 3072, 4096, 11008, 14336, 50272}) {
    for (const std::int64_t k : {64, 128, 768, 4096}) {
      const int parts = gemm_parts(m, k, DType::f16);
      CHECK(parts == 1 || parts == 2 || parts == 4 || parts == 8);
      CHECK(parts <= (k + 63) / 64);
      for (const DType type : {DType::f32, DType::f16, DType::bf16}) {
        for (std::int64_t n = 1; n < 2000; n = n * 3 / 2 + 1) {
          for (const DeviceShape& device : {DeviceShape{132, 90, 227 * 1024}, DeviceShape{8, 86, 99 * 1024}}) {
            GemmParams params{};
            params.m = m, params.n = n, params.k = params.k_stride = k, params.dtype = params.out_dtype = type;
            const LaunchPlan plan = plan_gemm(params, device);
            CHECK(plan.kernel != nullptr && plan.grid > 0 && plan.shared_bytes <= 99 * 1024);
            CHECK_EQ(params.parts, gemm_parts(m, k, type));
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace splitwiser
