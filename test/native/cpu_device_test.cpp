#include <algorithm>
#include <thread>

#include "check.hpp"
#include "cpu_support.hpp"
#include "platform/affinity.hpp"
#include "platform/clock.hpp"
#include "platform/memory.hpp"

namespace splitwiser {
namespace {

using namespace cpu_test;

TEST("the CPU describes itself: cores, memory, the instruction sets that it runs") {
  const CpuDevice device = describe_cpu();
  CHECK(!device.name.empty());
  CHECK(device.cores >= 1);
  CHECK(device.memory_bytes > 0);
  CHECK(device.available_bytes <= device.memory_bytes);
  CHECK_EQ(device.isas.front(), "portable");
  CHECK_EQ(device.isa, device.isas.back());
}

TEST("SPLITWISER_ISA forces an instruction set, and one that cannot run is refused by name") {
  for (const std::string& isa : describe_cpu().isas) {
    const ScopedIsa scope(isa);
    CHECK_EQ(describe_cpu().isa, isa);
  }
  const auto isas = describe_cpu().isas;
  for (const char* isa : {"neon", "avx512", "sse9"}) {
    if (std::ranges::find(isas, isa) != isas.end()) continue;
    const ScopedIsa scope(isa);
    CHECK_THROWS_CODE(describe_cpu(), ErrorCode::device_unavailable);
    CHECK_THROWS_CODE(make_cpu_backend({}), ErrorCode::device_unavailable);
    try {
      static_cast<void>(describe_cpu());
    } catch (const Error& error) {
      CHECK(std::string(error.what()).find("portable") != std::string::npos);
    }
  }
}

TEST("a number of threads that cannot be is refused") {
  CHECK_THROWS_CODE(make_cpu_backend({.threads = -1}), ErrorCode::invalid_option);
  CHECK_THROWS_CODE(make_cpu_backend({.threads = 1 << 20}), ErrorCode::invalid_option);
}

TEST("processors that may be used are listed once each, first threads of cores first") {
  const ProcessorSet set = allowed_processors();
  CHECK(set.physical_cores >= 1);
  CHECK(set.usable_cores() >= 1);
  auto sorted = set.processors;
  std::ranges::sort(sorted);
  CHECK(std::ranges::adjacent_find(sorted) == sorted.end());
}

TEST("a pinned thread gets its old mask back") {
  std::thread([] {
    const auto before = allowed_processors().processors;
    {
      const ScopedPin pin(before.empty() ? 0 : before.back());
      CHECK(allowed_processors().processors.size() <= before.size());
    }
    CHECK_EQ(allowed_processors().processors, before);
  }).join();
}

TEST("a memory region is zeroed, and more than there is is refused as out of memory") {
  for (const std::size_t bytes : {std::size_t(1), std::size_t(5000), std::size_t(5'000'001)}) {
    const MemoryRegion region(bytes, "a test");
    CHECK_EQ(region.bytes(), bytes);
    CHECK(std::all_of(region.data(), region.data() + bytes, [](std::byte b) { return b == std::byte{0}; }));
    region.data()[bytes - 1] = std::byte{1};
  }
  CHECK_THROWS_CODE(MemoryRegion(std::size_t(1) << 50, "a test"), ErrorCode::out_of_memory);
  CHECK_THROWS_CODE(MemoryRegion(~std::size_t(0) - 100, "a test"), ErrorCode::out_of_memory);
  const auto backend = make_cpu_backend({.threads = 1});
  CHECK_THROWS_CODE(backend->allocate(std::size_t(1) << 50), ErrorCode::out_of_memory);
  CHECK_EQ(backend->allocate(0)->bytes(), 0);
}

TEST("the clock does not go back") {
  std::int64_t last = monotonic_ns();
  for (int i = 0; i < 1000; ++i) {
    const std::int64_t now = monotonic_ns();
    CHECK(now >= last);
    last = now;
  }
}

}  // namespace
}  // namespace splitwiser
