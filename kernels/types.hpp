// What host and device both say about numbers: element types and activations. Plain C++: nvcc, the simulated
// device and the addon all read it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace splitwiser {

enum class DType : std::uint8_t { f32, f16, bf16 };
[[nodiscard]] constexpr std::size_t bytes_of(DType type) { return type == DType::f32 ? 4 : 2; }
[[nodiscard]] constexpr const char* name_of(DType type) {
  return type == DType::f32 ? "f32" : type == DType::f16 ? "f16" : "bf16";
}

// gelu: the exact form, by erf; gelu_tanh: 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))); silu: x / (1 + e^-x)
enum class Activation : std::uint8_t { none, relu, gelu, gelu_tanh, silu };

}  // namespace splitwiser
