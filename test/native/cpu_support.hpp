// What the CPU backend's tests share: seeded numbers, weights in any type, a backend of a given instruction set.
#pragma once

#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "backend/backend.hpp"
#include "backend/cpu/cpu_backend.hpp"
#include "support/half.hpp"
#include "backend/cpu/isa.hpp"

namespace splitwiser::cpu_test {

inline constexpr DType kDTypes[] = {DType::f32, DType::f16, DType::bf16};

// Sets SPLITWISER_ISA for a scope.
class ScopedIsa {
 public:
  explicit ScopedIsa(const std::string& isa) { set(isa); }
  ~ScopedIsa() { set(""); }  // empty counts as not set
  ScopedIsa(const ScopedIsa&) = delete;
  ScopedIsa& operator=(const ScopedIsa&) = delete;

 private:
  static void set(const std::string& value) {
#if defined(_WIN32)
    _putenv_s("SPLITWISER_ISA", value.c_str());
#else
    setenv("SPLITWISER_ISA", value.c_str(), 1);
#endif
  }
};

inline std::unique_ptr<Backend> make_backend(cpu::Isa isa, int threads) {
  const ScopedIsa scope(cpu::name_of(isa));
  return make_cpu_backend({.threads = threads});
}

// Uniform in [-scale, scale].
inline std::vector<float> random_values(std::int64_t count, unsigned seed, float scale = 1) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> distribution(-scale, scale);
  std::vector<float> result(static_cast<std::size_t>(count));
  for (float& value : result) value = distribution(generator);
  return result;
}

// A value as it is after storage in `type`.
inline float rounded(float value, DType type) {
  return with_type(type, [&](auto t) { return widen(narrow<decltype(t)>(value)); });
}

// A matrix as it would lie in a file, at an odd address.
class FileMatrix {
 public:
  FileMatrix(std::int64_t rows, std::int64_t cols, DType type, unsigned seed, float scale = 1)
      : values(random_values(rows * cols, seed, scale)), bytes_(1 + values.size() * bytes_of(type)), rows_(rows),
        cols_(cols), type_(type) {
    with_type(type, [&](auto t) {
      using T = decltype(t);
      for (std::size_t i = 0; i < values.size(); ++i) {
        const T stored = narrow<T>(values[i]);
        std::memcpy(bytes_.data() + 1 + i * sizeof(T), &stored, sizeof(T));
        values[i] = widen(stored);
      }
    });
  }
  [[nodiscard]] HostMatrix host() const { return {bytes_.data() + 1, type_, rows_, cols_}; }

  std::vector<float> values;  // widened

 private:
  std::vector<std::byte> bytes_;
  std::int64_t rows_;
  std::int64_t cols_;
  DType type_;
};

inline std::unique_ptr<Matrix> pack(Backend& backend, const FileMatrix& matrix, DType storage) {
  const HostMatrix host = matrix.host();
  return backend.pack(std::span(&host, 1), storage);
}

inline std::unique_ptr<Vector> upload(Backend& backend, const FileMatrix& vector) {
  const HostMatrix host = vector.host();
  return backend.upload(std::span(&host, 1));
}

inline Tensor tensor(std::vector<float>& values, std::int64_t rows, std::int64_t cols) {
  return {values.data(), DType::f32, rows, cols};
}

inline bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

// Brackets a step, also when a check throws.
class Step {
 public:
  explicit Step(Lane& lane) : lane_(lane) { lane_.begin_step(); }
  ~Step() { lane_.end_step(); }
  Step(const Step&) = delete;
  Step& operator=(const Step&) = delete;

 private:
  Lane& lane_;
};

}  // namespace splitwiser::cpu_test
