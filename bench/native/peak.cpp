#include "peak.hpp"

#include <algorithm>
#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#include "backend/cpu/isa.hpp"
#include "platform/affinity.hpp"
#include "platform/clock.hpp"
#include "platform/memory.hpp"

#if defined(SPLITWISER_X86)
#include <immintrin.h>
#elif defined(SPLITWISER_ARM)
#include <arm_neon.h>
#endif

namespace splitwiser::bench {
namespace {

constexpr int kRounds = 20'000;  // of independent multiply-adds between two looks at the clock
std::atomic<float> sink;         // keeps results alive

// Independent chains of multiply-adds in registers: 12 hide the latency of any core's fma units. They begin with
// different numbers, or a compiler would compute one for all.
#if defined(SPLITWISER_X86) && (defined(__GNUC__) || defined(__clang__))
__attribute__((target("avx2,fma"))) double rounds_avx2() {
  __m256 acc[12];
  for (int i = 0; i < 12; ++i) acc[i] = _mm256_set1_ps(float(i));
  const __m256 b = _mm256_set1_ps(0.999f);
  const __m256 c = _mm256_set1_ps(1e-3f);
  for (int i = 0; i < kRounds; ++i) {
    for (__m256& a : acc) a = _mm256_fmadd_ps(a, b, c);
  }
  for (int i = 1; i < 12; ++i) acc[0] = _mm256_add_ps(acc[0], acc[i]);
  sink = _mm256_cvtss_f32(acc[0]);
  return kRounds * 12.0 * 8 * 2;
}

__attribute__((target("avx512f"))) double rounds_avx512() {
  __m512 acc[16];
  for (int i = 0; i < 16; ++i) acc[i] = _mm512_set1_ps(float(i));
  const __m512 b = _mm512_set1_ps(0.999f);
  const __m512 c = _mm512_set1_ps(1e-3f);
  for (int i = 0; i < kRounds; ++i) {
    for (__m512& a : acc) a = _mm512_fmadd_ps(a, b, c);
  }
  for (int i = 1; i < 16; ++i) acc[0] = _mm512_add_ps(acc[0], acc[i]);
  sink = _mm512_cvtss_f32(acc[0]);
  return kRounds * 16.0 * 16 * 2;
}
#elif defined(SPLITWISER_ARM)
double rounds_neon() {
  float32x4_t acc[16];
  for (int i = 0; i < 16; ++i) acc[i] = vdupq_n_f32(float(i));
  const float32x4_t b = vdupq_n_f32(0.999f);
  const float32x4_t c = vdupq_n_f32(1e-3f);
  for (int i = 0; i < kRounds; ++i) {
    for (float32x4_t& a : acc) a = vfmaq_f32(c, a, b);
  }
  for (int i = 1; i < 16; ++i) acc[0] = vaddq_f32(acc[0], acc[i]);
  sink = vgetq_lane_f32(acc[0], 0);
  return kRounds * 16.0 * 4 * 2;
}
#endif

double rounds_portable() {
  float acc[48];
  for (int i = 0; i < 48; ++i) acc[i] = float(i);
  for (int i = 0; i < kRounds; ++i) {
    for (float& a : acc) a = a * 0.999f + 1e-3f;
  }
  float sum = 0;
  for (const float a : acc) sum += a;
  sink = sum;
  return kRounds * 48.0 * 2;
}

double rounds(cpu::Isa isa) {
  switch (isa) {
#if defined(SPLITWISER_X86) && (defined(__GNUC__) || defined(__clang__))
    case cpu::Isa::avx2: return rounds_avx2();
    case cpu::Isa::avx512: return rounds_avx512();
#elif defined(SPLITWISER_ARM)
    case cpu::Isa::neon: return rounds_neon();
#endif
    default: return rounds_portable();
  }
}

// Reads a stretch through eight sums; compilers make vectors of it, and memory is the limit.
double read_all(const float* data, std::size_t count) {
  float sums[64] = {};
  for (std::size_t i = 0; i + 64 <= count; i += 64) {
    for (std::size_t j = 0; j < 64; ++j) sums[j] += data[i + j];
  }
  float sum = 0;
  for (const float s : sums) sum += s;
  sink = sum;
  return double(count) * sizeof(float);
}

// Amount per second of `work(thread)` repeated on all threads for `seconds`; the best of `tries`.
double rate(int threads, double seconds, int tries, const std::function<double(int)>& work) {
  const std::vector<int> processors = allowed_processors().processors;
  double best = 0;
  for (int t = 0; t < tries; ++t) {
    std::vector<double> rates(static_cast<std::size_t>(threads));
    std::vector<std::thread> team;
    for (int i = 0; i < threads; ++i) {
      team.emplace_back([&, i] {
        if (std::size_t(i) < processors.size()) pin_this_thread(processors[std::size_t(i)]);
        const std::int64_t begin = monotonic_ns();
        double amount = 0;
        std::int64_t passed = 0;
        do {
          amount += work(i);
          passed = monotonic_ns() - begin;
        } while (double(passed) < seconds * 1e9);
        rates[std::size_t(i)] = amount / (double(passed) * 1e-9);
      });
    }
    for (std::thread& thread : team) thread.join();
    double sum = 0;
    for (const double r : rates) sum += r;
    best = std::max(best, sum);
  }
  return best;
}

}  // namespace

Peak measure_peak(int threads, bool quick) {
  const cpu::Isa isa = cpu::runnable_isas().back();
  const int tries = quick ? 3 : 5;
  Peak peak;
  peak.flops = rate(threads, 0.1, tries, [isa](int) { return rounds(isa); });
  const std::size_t bytes = std::size_t(quick ? 256 : 512) << 20;
  const MemoryRegion buffer(bytes, "the bandwidth measurement");
  auto* data = reinterpret_cast<float*>(buffer.data());
  const std::size_t each = bytes / sizeof(float) / std::size_t(threads);
  std::fill(data, data + bytes / sizeof(float), 1.0f);  // untouched pages would all be one zero page
  peak.read_bytes_per_second =
      rate(threads, 0.2, tries, [=](int i) { return read_all(data + std::size_t(i) * each, each); });
  return peak;
}

}  // namespace splitwiser::bench
