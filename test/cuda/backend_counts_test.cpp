// What the simulated device counted while the backend ran. A real device counts nothing: there these tests only run the work.
#include <unistd.h>

#include <barrier>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "backend/cuda/cuda_backend.hpp"
#include "backend_rig.hpp"
#include "check.hpp"
#include "child_process.hpp"

namespace splitwiser {
namespace {

using namespace cuda_test;

void reset_counters() {
  if (const auto reset = reinterpret_cast<void (*)()>(simulator_function("simdriver_reset_counters"))) reset();
}

// The simulator's report as text; empty on a real device.
std::string report() {
  const auto write = reinterpret_cast<int (*)(const char*)>(simulator_function("simdriver_report"));
  const auto file = std::filesystem::temp_directory_path() / ("splitwiser-report-" + std::to_string(getpid()) + ".json");
  const std::string path = file.string();
  if (write == nullptr || write(path.c_str()) != 0) return {};
  std::ifstream in(path);
  std::string text{std::istreambuf_iterator<char>(in), {}};
  std::filesystem::remove(file);
  return text;
}

// The number behind "name": ; 0 where there is none.
long number_of(const std::string& report, const std::string& name) {
  const std::size_t at = report.find("\"" + name + "\":");
  return at == std::string::npos ? 0 : std::strtol(report.c_str() + at + name.size() + 3, nullptr, 10);
}

TEST("steady decode launches a graph a step, allocates nothing and never waits for the device") {
  Rig rig(make_cuda_backend({.ordinal = 0, .storage = DType::f16}), DType::f16);
  Lane& lane = rig.lane(Phase::decode);
  lane.prepare_decode(rig.program(Phase::decode), 2);
  const auto pages = page_run(4, 64, 16);
  const std::vector<std::int32_t> first = random_tokens(1, rig.shape().vocab, 8);
  constexpr int kSteps = 12;
  const auto run = [&](int steps) {
    const StepScope scope(lane);
    std::vector<RigStep> arrays(static_cast<std::size_t>(steps));
    std::vector<std::vector<SampleResult>> results(static_cast<std::size_t>(steps), std::vector<SampleResult>(1));
    std::vector<std::vector<SampleRow>> rows(static_cast<std::size_t>(steps), std::vector<SampleRow>(1));
    std::shared_ptr<Event> before;
    for (int i = 0; i < steps; i++) {
      const auto at = static_cast<std::size_t>(i);
      const std::int32_t token = i == 0 ? first[0] : -1;
      arrays[at].add(std::span(&token, 1), 0 + i, pages);
      rows[at][0].position = std::uint32_t(i + 1);
      lane.decode({arrays[at].input(), rows[at], results[at]});
      const auto done = lane.record();
      if (before) lane.synchronize(*before);
      before = done;
    }
    lane.synchronize(*before);
  };
  run(4);
  reset_counters();
  run(kSteps);
  const std::string text = report();
  if (text.empty()) {
    CHECK(!simulated());
    return;
  }
  CHECK_EQ(number_of(text, "graph_launches"), kSteps);
  CHECK_EQ(number_of(text, "launches"), 0);
  CHECK_EQ(number_of(text, "h2d"), 1);  // the first step; the device advances by itself within a page
  CHECK_EQ(number_of(text, "d2h"), kSteps);
  CHECK_EQ(number_of(text, "pageable_copies"), 0);
  CHECK_EQ(number_of(text, "lazy_loads"), 0);
  CHECK_EQ(number_of(text, "spinning_waits"), 0);
  CHECK_EQ(number_of(text, "late_uploads"), 0);
  for (const char* call : {"cuMemCreate", "cuMemMap", "cuMemHostAlloc", "cuStreamSynchronize", "cuCtxSynchronize",
                           "cuGraphInstantiateWithFlags", "cuStreamBeginCapture", "cuEventCreate"}) {
    if (number_of(text, call) != 0) CHECK_EQ(std::string(call), "not called");
  }
  CHECK_EQ(number_of(text, "finding_count"), 0);
}

TEST("a prompt is enqueued two layer groups ahead at most") {
  RigShape shape;
  shape.layers = 8;
  // Every layer is a group.
  Rig rig(make_cuda_backend({.ordinal = 0, .storage = DType::f16, .layer_group_ms = 0}), DType::f16, shape);
  RigStep step;
  step.add(random_tokens(20, shape.vocab, 3), 0, page_run(0, 20, 16));
  Lane& lane = rig.lane(Phase::prefill);
  const StepInput in = step.input();
  const StepScope scope(lane);
  reset_counters();
  static_cast<void>(rig.forward(Phase::prefill, in));
  const std::string text = report();
  lane.synchronize(*lane.record());
  if (text.empty()) {
    CHECK(!simulated());
    return;
  }
  // Seven yield points; the first leaves one group enqueued, each later one waits for the group before the last.
  CHECK_EQ(number_of(text, "cuEventSynchronize"), shape.layers - 2);
  CHECK_EQ(number_of(text, "cuStreamSynchronize"), 0);
  CHECK_EQ(number_of(text, "finding_count"), 0);
}

TEST("work of both lanes is in flight together, on disjoint SMs of green contexts") {
  RigShape shape;
  shape.layers = 6;
  Rig rig(make_cuda_backend({.ordinal = 0, .storage = DType::f16}), DType::f16, shape);
  PartitionRequest request;
  request.kind = Partition::green_context;
  CHECK_EQ(rig.backend().configure(request), Partition::green_context);
  RigStep prompt, running;
  prompt.add(random_tokens(64, shape.vocab, 3), 0, page_run(0, 64, 16));
  running.add(random_tokens(1, shape.vocab, 4), 0, page_run(20, 1, 16));
  reset_counters();
  const StepInput prompt_in = prompt.input();
  const StepInput running_in = running.input();
  std::barrier both(2);
  const auto run = [&](Phase phase, const StepInput& in) {
    Lane& lane = rig.lane(phase);
    const StepScope scope(lane);
    both.arrive_and_wait();
    // The first to begin had the whole device; from here on each has its own share.
    lane.yield_point();
    static_cast<void>(rig.forward(phase, in));
    const auto done = lane.record();
    both.arrive_and_wait();
    lane.synchronize(*done);
  };
  std::thread decode([&] {
    for (int i = 0; i < 3; i++) run(Phase::decode, running_in);
  });
  for (int i = 0; i < 3; i++) run(Phase::prefill, prompt_in);
  decode.join();
  const std::string text = report();
  if (text.empty()) {
    CHECK(!simulated());
    return;
  }
  CHECK(text.find("\"disjoint_sms\": true") != std::string::npos || text.find("\"disjoint_sms\":true") != std::string::npos);
  CHECK_EQ(number_of(text, "finding_count"), 0);
}

}  // namespace
}  // namespace splitwiser
