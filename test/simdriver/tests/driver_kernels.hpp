// Parameters of driver_kernels.cu.
#pragma once

#include <cstdint>

namespace simdriver_test {

struct Scale {
  float* x;              // [count]
  std::uint32_t count;
  float factor, addend;
};
static_assert(sizeof(Scale) == 24);

struct Meet {
  std::uint32_t* mine;
  std::uint32_t* other;
};

struct Wide {
  Scale scale;
  std::uint8_t rest[5000];  // more parameters than 4 KB
};

}  // namespace simdriver_test
