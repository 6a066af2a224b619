// d [16, 8] += a [16, 16] . b [16, 8], on whole matrices. Private to the machine.
#pragma once

#include <array>
#include <cstdint>

#include "simt/machine.hpp"

namespace simt {

using MatrixA = std::array<std::array<std::uint16_t, 16>, 16>;  // row by row
using MatrixB = std::array<std::array<std::uint16_t, 8>, 16>;   // k by k
using MatrixD = std::array<std::array<float, 8>, 16>;           // row by row

// `order`: in which the products 0 .. 15 and the accumulator (16) are added, the same for every element.
void multiply_ordered(bool bf16, const MatrixA& a, const MatrixB& b, MatrixD& d,
                      const std::array<std::uint8_t, 17>& order);
// As the hardware's adders are thought to work (arXiv 2511.10909): products and accumulator are aligned to the greatest
// exponent among them, cut off toward zero below `fraction` bits, added exactly, cut to f32 toward zero; `terms` products
// at a time, in ascending k.
void multiply_truncated(bool bf16, const MatrixA& a, const MatrixB& b, MatrixD& d, int terms, int fraction);

}  // namespace simt
