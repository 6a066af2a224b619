// What the simulated device counted while the backend ran. A real device counts nothing: there these tests only run the work.
#include <unistd.h>

#include <barrier>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <thread>
#include <utility>

#include "backend/cuda/cuda_backend.hpp"
#include "backend_rig.hpp"
#include "check.hpp"
#include "child_process.hpp"
#include "device_counters.hpp"
#include "step.hpp"

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
  CHECK_EQ(number_of(text, "launches"), 1);  // of the first step's arrays; the device advances by itself within a page
  CHECK_EQ(number_of(text, "h2d"), 0);
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

TEST("decode steps send what changes: nothing, a page, a row that joins, a row that leaves") {
  Rig rig(make_cuda_backend({.ordinal = 0, .storage = DType::f16}), DType::f16);
  Lane& lane = rig.lane(Phase::decode);
  lane.prepare_decode(rig.program(Phase::decode), 4);
  const StepScope scope(lane);
  struct Given {
    std::int32_t position, token, first_page;
  };
  const auto run = [&](const std::vector<Given>& given) {
    RigStep arrays;
    std::vector<SampleRow> rows(given.size());
    for (std::size_t i = 0; i < given.size(); i++) {
      arrays.add(std::span(&given[i].token, 1), given[i].position, page_run(given[i].first_page, 64, 16));
      rows[i].row = std::int64_t(i);
      rows[i].position = std::uint32_t(given[i].position + 1);
    }
    std::vector<SampleResult> results(given.size());
    lane.decode({arrays.input(), rows, results});
    lane.synchronize(*lane.record());
  };
  // Pieces of 16 bytes, and their places of 4; only the checked tier counts bytes.
  const auto check_pieces = [&](std::uint64_t wanted, const std::vector<Given>& given) {
    if (counting_tier() == CountingTier::real) return run(given);
    const simt::Counters seen = count("step_patch", [&] { run(given); });
    CHECK_EQ(seen.launches, wanted > 0 ? 1 : 0);
    if (on_checked_tier()) CHECK_EQ(seen.global_load_bytes, wanted * 20);
  };
  constexpr std::uint64_t kSlot = sizeof(SampleSlot) / sizeof(StepPiece), kCounts = 1, kOfRows = 4, kPages = 1;
  check_pieces(kCounts + kOfRows + 2 * kSlot + 2 * kPages, {{13, 7, 0}, {14, 8, 8}});
  check_pieces(0, {{14, -1, 0}, {15, -2, 8}});
  check_pieces(kPages, {{15, -1, 0}, {16, -2, 8}});
  check_pieces(kPages + kCounts + kOfRows + kSlot + kPages, {{16, -1, 0}, {17, -2, 8}, {5, 9, 16}});
  check_pieces(kCounts, {{17, -1, 0}, {18, -2, 8}});
  check_pieces(0, {{18, -1, 0}, {19, -2, 8}});
}

// Launches and graph launches of `work`; none on a real device.
std::pair<long, long> launches_of(const std::function<void()>& work) {
  reset_counters();
  work();
  const std::string text = report();
  return {number_of(text, "launches"), number_of(text, "graph_launches")};
}

TEST("prompts of nearly the same size become one launch for a layer group, with the bits of single launches") {
  RigShape shape;
  shape.layers = 4;
  Rig rig(make_cuda_backend({.ordinal = 0, .storage = DType::f16}), DType::f16, shape);
  const auto tokens = random_tokens(64, shape.vocab, 5), others = random_tokens(64, shape.vocab, 6);
  // Two prompts, the second one of two tokens and more; on the lane for prompts or, op by op, on the other one.
  const auto logits = [&](Phase phase, std::size_t rows, std::size_t more, std::int32_t page) {
    RigStep step;
    step.add(std::span(tokens).first(rows), 0, page_run(page, std::int64_t(rows), 16));
    if (more > 0) step.add(std::span(others).first(more), 0, page_run(page + 5, std::int64_t(more), 16));
    return rig.logits(phase, step);
  };
  static_cast<void>(logits(Phase::prefill, 5, 0, 0));  // the first prompt of a lane is its own: tiles are sent later
  struct Case {
    std::size_t rows, more;
    std::int32_t page;
  };
  // Of 33 to 64 rows, in one and in two segments; of 65 to 128.
  for (const std::vector<Case>& alike : {std::vector<Case>{{40, 0, 0}, {64, 0, 9}, {33, 0, 3}},
                                         {{30, 20, 2}, {2, 62, 0}, {31, 2, 7}, {17, 33, 1}},
                                         {{60, 30, 0}, {64, 31, 6}, {35, 34, 9}}}) {
    int seen = 0;
    for (const auto& [rows, more, page] : alike) {
      const auto wanted = logits(Phase::decode, rows, more, page);
      std::vector<float> got;
      const auto [launches, graphs] = launches_of([&] { got = logits(Phase::prefill, rows, more, page); });
      CHECK(same_bits(got, wanted));
      if (!simulated()) continue;
      CHECK_EQ(graphs, seen == 0 ? 0 : 1);
      CHECK(seen == 0 ? launches > 30 : launches < 8);
      seen++;
    }
  }
  // A decoding row beside a prompt: nothing is rounded, nothing kept.
  RigStep mixed;
  mixed.add(std::span(tokens).first(40), 0, page_run(0, 40, 16));
  mixed.add(std::span(others).first(1), 0, page_run(10, 1, 16));
  for (int i = 0; i < 3; i++) {
    const auto [launches, graphs] = launches_of([&] { static_cast<void>(rig.logits(Phase::prefill, mixed)); });
    if (simulated()) CHECK(launches > 30 && graphs == 0);
  }
}

TEST("groups of prompts beyond those that are kept take the place of the oldest") {
  if (on_checked_tier()) {
    CHECK(true);  // thousands of rows: the fast tier has them
    return;
  }
  RigShape shape;
  shape.layers = 3;
  shape.heads = shape.kv_heads = 1;
  shape.max_rows = 512;
  shape.pages = 64;
  // A group is a whole prompt.
  Rig rig(make_cuda_backend({.ordinal = 0, .storage = DType::f16, .layer_group_ms = 1e6}), DType::f16, shape);
  const auto tokens = random_tokens(512, shape.vocab, 5);
  const auto graphs_of = [&](std::size_t rows, std::size_t segments) {
    RigStep step;
    for (std::size_t i = 0; i < segments; i++) {
      step.add(std::span(tokens).first(rows / segments), 0, page_run(std::int32_t(4 * i), std::int64_t(rows / segments), 16));
    }
    return launches_of([&] { static_cast<void>(rig.logits(Phase::prefill, step)); }).second;
  };
  static_cast<void>(graphs_of(5, 1));  // the first prompt of a lane is its own: tiles are sent later
  std::vector<long> graphs{graphs_of(60, 1), graphs_of(60, 1)};
  for (std::size_t rows = 64; rows <= 512; rows += 64) {
    for (std::size_t segments = rows == 64 ? 2 : 1; segments <= 32; segments *= 2) graphs.push_back(graphs_of(rows, segments));
  }
  for (const std::size_t few : {8, 16, 32}) graphs.push_back(graphs_of(few, 1));
  std::vector<long> wanted(graphs.size(), 0);
  wanted[1] = 1;
  graphs.push_back(graphs_of(60, 1));  // forgotten
  wanted.push_back(0);
  graphs.push_back(graphs_of(60, 1));
  wanted.push_back(1);
  if (simulated()) CHECK_EQ(graphs, wanted);
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
