#include "backend/cpu/isa.hpp"

#include <array>
#include <cstring>
#include <fstream>

#include "platform/environment.hpp"
#include "support/error.hpp"

#if defined(SPLITWISER_X86)
#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#endif

namespace splitwiser::cpu {
namespace {

#if defined(SPLITWISER_X86)

using Registers = std::array<std::uint32_t, 4>;  // eax, ebx, ecx, edx

Registers cpuid(std::uint32_t leaf, std::uint32_t subleaf) {
  Registers r{};
#if defined(_MSC_VER)
  int raw[4];
  __cpuidex(raw, static_cast<int>(leaf), static_cast<int>(subleaf));
  std::memcpy(r.data(), raw, sizeof raw);
#else
  __cpuid_count(leaf, subleaf, r[0], r[1], r[2], r[3]);
#endif
  return r;
}

// Which register files the operating system saves (XCR0). Only where OSXSAVE is set.
std::uint64_t enabled_state() {
#if defined(_MSC_VER)
  return _xgetbv(0);
#else
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (std::uint64_t(high) << 32) | low;
#endif
}

constexpr bool bit(std::uint32_t value, int index) { return ((value >> index) & 1u) != 0; }

struct X86Features {
  bool avx2 = false;
  bool avx512 = false;
};

X86Features x86_features() {
  X86Features features;
  if (cpuid(0, 0)[0] < 7) return features;
  const Registers basic = cpuid(1, 0);
  const Registers extended = cpuid(7, 0);
  const bool osxsave = bit(basic[2], 27);
  const std::uint64_t state = osxsave ? enabled_state() : 0;
  const bool ymm = (state & 0x06) == 0x06;  // SSE and AVX
  const bool zmm = (state & 0xe6) == 0xe6;  // and the three parts of AVX-512
  const bool avx_fma_f16c = bit(basic[2], 28) && bit(basic[2], 12) && bit(basic[2], 29);
  features.avx2 = ymm && avx_fma_f16c && bit(extended[1], 5);
  const bool f_dq_bw_vl = bit(extended[1], 16) && bit(extended[1], 17) && bit(extended[1], 30) && bit(extended[1], 31);
  features.avx512 = features.avx2 && zmm && f_dq_bw_vl;
  return features;
}

#endif

std::string list(const std::vector<Isa>& isas) {
  std::string text;
  for (const Isa isa : isas) text += (text.empty() ? "" : ", ") + std::string(name_of(isa));
  return text;
}

std::string trimmed(std::string text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

}  // namespace

std::vector<Isa> runnable_isas() {
  std::vector<Isa> isas{Isa::portable};
#if defined(SPLITWISER_X86)
  const X86Features features = x86_features();
  if (features.avx2) isas.push_back(Isa::avx2);
  if (features.avx512) isas.push_back(Isa::avx512);
#elif defined(SPLITWISER_ARM)
  isas.push_back(Isa::neon);  // part of every 64-bit ARM
#endif
  return isas;
}

Isa chosen_isa() {
  const std::vector<Isa> isas = runnable_isas();
  const auto wanted = environment_value(EnvironmentVariable::isa);
  if (!wanted) return isas.back();
  for (const Isa isa : isas) {
    if (*wanted == name_of(isa)) return isa;
  }
  throw Error(ErrorCode::device_unavailable, "SPLITWISER_ISA=" + *wanted + ": this machine runs " + list(isas) +
                                                 ". Set it to one of these, or leave it out for the best");
}

const CpuKernels& kernels_of(Isa isa) {
  switch (isa) {
#if defined(SPLITWISER_X86)
    case Isa::avx2: return avx2_kernels();
    case Isa::avx512: return avx512_kernels();
#elif defined(SPLITWISER_ARM)
    case Isa::neon: return neon_kernels();
#endif
    default: return portable_kernels();
  }
}

std::string processor_name() {
#if defined(SPLITWISER_X86)
  if (cpuid(0x80000000u, 0)[0] >= 0x80000004u) {
    char text[49] = {};
    for (std::uint32_t i = 0; i < 3; ++i) {
      const Registers r = cpuid(0x80000002u + i, 0);
      std::memcpy(text + 16 * i, r.data(), 16);
    }
    if (const std::string name = trimmed(text); !name.empty()) return name;
  }
#endif
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line)) {
    const auto colon = line.find(':');
    if (colon == std::string::npos || line.rfind("model name", 0) != 0) continue;
    if (const std::string name = trimmed(line.substr(colon + 1)); !name.empty()) return name;
  }
  return "CPU";
}

}  // namespace splitwiser::cpu
