// What goes wrong with a GPU is a typed error with a reason, and the process lives on.
#include <cstdlib>

#include "backend/cpu/cpu_backend.hpp"
#include "backend/cuda/cuda_backend.hpp"
#include "backend/cuda/driver.hpp"
#include "backend_rig.hpp"
#include "check.hpp"
#include "child_process.hpp"

namespace splitwiser {
namespace {

using namespace cuda_test;

std::unique_ptr<Backend> backend() { return make_cuda_backend({.ordinal = 0, .storage = DType::f16}); }

std::string setting(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

RigStep small_step(const Rig& rig) {
  RigStep step;
  step.add(random_tokens(5, rig.shape().vocab, 1), 0, page_run(0, 5, 16));
  return step;
}

// The test passes in a process of its own with these settings. Only the simulated driver has any: a real one does not fail on demand.
void check_child(const std::string& test, const Settings& settings) {
  if (!simulated()) {
    CHECK(true);
    return;
  }
  const ChildResult child = run_child(test, settings);
  CHECK_EQ(child.status, 0);
  if (child.status == 0) return;
  std::string given;
  for (const auto& [name, value] : settings) given += name + "=" + value + " ";
  CHECK_EQ(child.output, given);
}

// ---- devices ---------------------------------------------------------------------------------------

TEST("child: devices say what EXPECT_REASON says") {
  const std::string expected = setting("EXPECT_REASON");
  const auto devices = describe_cuda();
  REQUIRE(!devices.empty());
  if (expected.empty()) {
    CHECK_EQ(devices.front().reason, std::string());
    CHECK(devices.front().available);
    CHECK(devices.front().sms > 0);
    CHECK(devices.front().compute_capability >= 80);
    CHECK(devices.front().available_bytes > 0);
    CHECK(devices.front().available_bytes <= devices.front().memory_bytes);
    CHECK(!devices.front().name.empty());
    return;
  }
  CHECK(!devices.front().available);
  if (devices.front().reason.find(expected) == std::string::npos) CHECK_EQ(devices.front().reason, expected);
  CHECK_THROWS_CODE(backend(), ErrorCode::device_unavailable);
}

void expect_reason(const char* reason, Settings settings) {
  settings.emplace_back("EXPECT_REASON", reason);
  check_child("child: devices say what EXPECT_REASON says", settings);
}

TEST("a driver file that is not there is a reason") {
  expect_reason("SPLITWISER_CUDA_LIBRARY names", {{"SPLITWISER_CUDA_LIBRARY", "/nowhere/libcuda.so.1"}});
}
TEST("a driver that is too old is a reason with the remedy") {
  expect_reason("install driver 580 or newer", {{"SIMDRIVER_DRIVER_VERSION", "12080"}});
}
TEST("a missing entry point is named") { expect_reason("cuMemSetAccess", {{"SIMDRIVER_MISSING", "cuMemSetAccess"}}); }
TEST("a machine without a GPU is a reason") { expect_reason("found no GPU", {{"SIMDRIVER_NO_DEVICE", "1"}}); }

TEST("an ordinal beyond the GPUs is refused") {
  CHECK_THROWS_CODE(make_cuda_backend({.ordinal = 40, .storage = DType::f16}), ErrorCode::device_unavailable);
  CHECK_THROWS_CODE(make_cuda_backend({.ordinal = -1, .storage = DType::f16}), ErrorCode::device_unavailable);
}

// ---- memory ----------------------------------------------------------------------------------------

TEST("too large a KV cache is out of memory, and the backend goes on") {
  Rig rig(backend(), DType::f16);
  const auto wanted = rig.logits(Phase::decode, small_step(rig));
  const std::uint64_t page_bytes = std::uint64_t(2) * 2 * 64 * 16 * 2;
  const auto pages = std::int64_t(describe_cuda().front().memory_bytes / page_bytes) + 1;
  CHECK_THROWS_CODE(rig.backend().make_kv_pool({1, 2, 64, 16, pages, DType::f16}), ErrorCode::out_of_memory);
  CHECK_THROWS_CODE(rig.backend().allocate(std::size_t(describe_cuda().front().memory_bytes) + 1), ErrorCode::out_of_memory);
  CHECK(same_bits(rig.logits(Phase::decode, small_step(rig)), wanted));
}

TEST("memory of a backend that is gone is free again") {
  const auto free_now = [] { return describe_cuda().front().available_bytes; };
  { const Rig rig(backend(), DType::f16); }
  const std::uint64_t before = free_now();
  { const Rig rig(backend(), DType::f16); }
  CHECK_EQ(free_now(), before);
}

TEST("child: a failed allocation is out of memory and leaves nothing behind") {
  const auto before = describe_cuda().front().available_bytes;
  if (setting("SIMDRIVER_FAIL").empty()) {
    const Rig rig(backend(), DType::f16);
    CHECK(describe_cuda().front().available_bytes < before);
    return;
  }
  CHECK_THROWS_CODE(Rig(backend(), DType::f16), ErrorCode::out_of_memory);
  CHECK_EQ(describe_cuda().front().available_bytes, before);
  const Rig rig(backend(), DType::f16);
  CHECK(describe_cuda().front().available_bytes < before);
}

TEST("each of the first allocations may fail") {
  for (const char* failure : {"alloc:1", "alloc:3", "alloc:5", "host:1", "host:6", "host:9"}) {
    check_child("child: a failed allocation is out of memory", {{"SIMDRIVER_FAIL", failure}});
  }
}

TEST("child: a prompt is computed without a graph where none can be made") {
  RigShape shape;
  shape.layers = 4;
  Rig rig(backend(), DType::f16, shape);
  RigStep step;
  step.add(random_tokens(40, shape.vocab, 1), 0, page_run(0, 40, 16));
  const auto wanted = rig.logits(Phase::decode, step);
  // The second time would make one, the third one does.
  for (int i = 0; i < 4; i++) CHECK(same_bits(rig.logits(Phase::prefill, step), wanted));
}

TEST("a layer group whose graph cannot be made is issued launch by launch") {
  for (const char* failure : {"graph:1", "graph:2", "cuGraphUpload:1"}) {
    check_child("child: a prompt is computed without a graph", {{"SIMDRIVER_FAIL", failure}});
  }
}

TEST("child: what follows a decode step that failed is right") {
  Rig rig(backend(), DType::f16);
  Lane& lane = rig.lane(Phase::decode);
  lane.prepare_decode(rig.program(Phase::decode), 1);
  const auto tokens = random_tokens(4, rig.shape().vocab, 3);
  int failures = 0;
  const auto decode = [&](std::int32_t position, std::int32_t page) {
    const StepScope scope(lane);
    RigStep step;
    step.add(std::span(tokens).subspan(std::size_t(position), 1), position, page_run(page, 16, 16));
    std::vector<SampleRow> rows(1);
    rows[0].position = std::uint32_t(position + 1);
    std::vector<SampleResult> results(1);
    try {
      lane.decode({step.input(), rows, results});
      lane.synchronize(*lane.record());
    } catch (const Error&) {
      failures++;
    }
    return results[0].token;
  };
  // The step that may fail would have left one sequence where the other one goes on.
  const auto run = [&] {
    for (const std::int32_t position : {0, 1, 2}) static_cast<void>(decode(position, 4));
    for (const std::int32_t position : {0, 1, 2}) static_cast<void>(decode(position, 0));
    return decode(3, 4);
  };
  const std::int32_t first = run();
  CHECK_EQ(failures, setting("SIMDRIVER_FAIL").empty() ? 0 : 1);
  CHECK_EQ(run(), first);
}

TEST("a decode step that could not be launched leaves nothing behind") {
  check_child("child: what follows a decode step that failed is right", {{"SIMDRIVER_FAIL", "cuGraphLaunch:6"}});
}

// ---- a lost device ---------------------------------------------------------------------------------

TEST("child: a lost device ends its engines and no other") {
  Rig rig(backend(), DType::f16);
  Rig other(backend(), DType::f16);
  Rig host(make_cpu_backend({.threads = 1}), DType::f16);
  const auto wanted = host.logits(Phase::decode, small_step(host));
  const auto lose = reinterpret_cast<void (*)()>(simulator_function("simdriver_lose_device"));
  if (lose == nullptr || setting("LOSE_DEVICE").empty()) {
    CHECK(!rig.logits(Phase::decode, small_step(rig)).empty());
    return;
  }
  lose();
  CHECK_THROWS_CODE(rig.logits(Phase::decode, small_step(rig)), ErrorCode::device_lost);
  // The other engine has called nothing since, and knows.
  CHECK_THROWS_CODE(other.logits(Phase::prefill, small_step(other)), ErrorCode::device_lost);
  CHECK_THROWS_CODE(backend(), ErrorCode::device_lost);
  CHECK(describe_cuda().front().reason.find("start the process anew") != std::string::npos);
  CHECK(same_bits(host.logits(Phase::decode, small_step(host)), wanted));
}

TEST("a device that is lost on the way ends its engines only") {
  check_child("child: a lost device ends its engines and no other", {{"LOSE_DEVICE", "1"}});
}

TEST("sticky errors are a lost device, the others are not") {
  CHECK(cuda::is_sticky(CUDA_ERROR_ILLEGAL_ADDRESS));
  CHECK(cuda::is_sticky(CUDA_ERROR_LAUNCH_FAILED));
  CHECK(cuda::is_sticky(CUDA_ERROR_ECC_UNCORRECTABLE));
  CHECK(!cuda::is_sticky(CUDA_ERROR_OUT_OF_MEMORY));
  CHECK(!cuda::is_sticky(CUDA_ERROR_INVALID_VALUE));
  CHECK(!cuda::is_sticky(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES));
}

}  // namespace
}  // namespace splitwiser
