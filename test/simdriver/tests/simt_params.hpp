// Parameters of the SIMT layer's own test kernels.
#pragma once

#include <cstdint>

struct TestParams {
  float* a;              // [n]
  float* b;              // [n]
  std::uint32_t* flags;  // [64], zero
  int n;
};
