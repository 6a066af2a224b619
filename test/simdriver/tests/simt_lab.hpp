// What the SIMT layer's tests share: a tiny TAP writer, and a machine with two arrays and flags.
#pragma once

#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "simt/machine.hpp"
#include "simt_params.hpp"

namespace lab {

inline int passed = 0, failed = 0;

inline bool expect(bool good, const std::string& what) {
  std::printf("%sok %d - %s\n", good ? "" : "not ", passed + failed + 1, what.c_str());
  ++(good ? passed : failed);
  return good;
}
inline int finish() {
  std::printf("1..%d\n# %d passed, %d failed\n", passed + failed, passed, failed);
  return failed == 0 ? 0 : 1;
}

struct Run {
  const char* kernel;
  std::uint32_t grid = 1, block = 64, shared_bytes = 4096;
  std::uint64_t chain = 1;
  std::vector<simt::Token> after = {};
  simt::SmSet sms = {};
  int priority = 0;
};

// a: n floats, written by the host (a[i] = i). b: n floats, not written. flags: zero.
class Bench {
 public:
  static constexpr int kFloats = 1024;

  explicit Bench(simt::Options options = {}) : machine(options) {
    const auto add = [&](void* base, std::size_t bytes, const char* label) { machine.on_alloc(base, bytes, label); };
    // Space between, so that the end of one is the beginning of nothing.
    a = reinterpret_cast<float*>(storage.data() + 4096);
    b = reinterpret_cast<float*>(storage.data() + 16384);
    flags = reinterpret_cast<std::uint32_t*>(storage.data() + 32768);
    add(a, kFloats * 4, "a");
    add(b, kFloats * 4, "b");
    add(flags, 256, "flags");
    for (int i = 0; i < kFloats; ++i) a[i] = float(i);
    std::memset(flags, 0, 256);
    loaded = machine.host_access({a, kFloats * 4, true, 1, {}, "upload"});
    loaded = machine.host_access({flags, 256, true, 1, {}, "upload"});
  }

  simt::Token start(const Run& run) {
    simt::GridLaunch launch;
    launch.kernel = simt::find_kernel(run.kernel);
    const TestParams params{a, b, flags, kFloats};
    launch.params.resize(sizeof params);
    std::memcpy(launch.params.data(), &params, sizeof params);
    launch.grid = run.grid;
    launch.block = run.block;
    launch.shared_bytes = run.shared_bytes;
    launch.chain = run.chain;
    launch.after = run.after;
    launch.after.push_back(loaded);
    launch.sms = run.sms;
    launch.priority = run.priority;
    launch.done = [this](const simt::GridResult& result) { results.push_back(result); };
    return machine.start(std::move(launch));
  }
  simt::GridResult run(const Run& run) {
    machine.wait(start(run));
    return results.back();
  }
  // All findings in one text; empty where there are none.
  [[nodiscard]] std::string found() const {
    std::string text;
    for (const auto& finding : machine.findings()) text += finding.format() + "\n";
    return text;
  }

 private:
  struct alignas(4096) Page {
    char bytes[4096];
  };
  std::unique_ptr<Page[]> pages = std::make_unique<Page[]>(10);
  struct {
    char* at;
    [[nodiscard]] char* data() const { return at; }
  } storage{pages[0].bytes};

 public:
  float* a;
  float* b;
  std::uint32_t* flags;
  simt::Token loaded = 0;
  std::vector<simt::GridResult> results;
  simt::Machine machine;  // last: its workers end first
};

void test_detectors();
void test_counts();
void test_numbers();
void test_execution();

}  // namespace lab
