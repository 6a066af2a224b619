// Each detector fires on its planted bug, at the marked line and nowhere else, under several seeds; its clean twin is
// clean. In the fast tier the rows that need instrumented accesses are run for their clean twins alone.
#include <algorithm>
#include <fstream>

#include "simt_lab.hpp"

namespace lab {

namespace {

using simt::FindingKind;

// "file.cu:12" of each line that carries "bug: <marker>".
std::vector<std::string> marked(const std::string& marker) {
  std::vector<std::string> lines;
  for (const char* kernel : {"plain_write", "grid_barrier"}) {
    const std::string path = simt::find_kernel(kernel)->file;
    const std::string name = path.substr(path.rfind('/') + 1);
    std::ifstream file(path);
    std::string line;
    for (int number = 1; std::getline(file, line); ++number) {
      const auto at = line.find("bug: " + marker);
      if (at != std::string::npos && line.size() == at + 5 + marker.size()) {
        lines.push_back(name + ":" + std::to_string(number));
      }
    }
  }
  return lines;
}

struct Row {
  const char* bug;
  const char* clean;
  FindingKind kind;
  const char* marker;  // null: the place is not checked
  bool fast;           // seen without instrumentation
  Run shape = {};
};

const Row kRows[] = {
    {"barrier_missing_bug", "barrier_missing_clean", FindingKind::race, "barrier_missing", false},
    {"second_barrier_missing_bug", "second_barrier_missing_clean", FindingKind::race, "second_barrier_missing", false},
    {"syncwarp_missing_bug", "syncwarp_missing_clean", FindingKind::race, "syncwarp_missing", false},
    {"second_syncwarp_missing_bug", "second_syncwarp_missing_clean", FindingKind::race, "second_syncwarp_missing", false},
    {"shuffle_is_no_fence_bug", "shuffle_is_no_fence_clean", FindingKind::race, "shuffle_is_no_fence", false},
    {"read_past_end_bug", "read_past_end_clean", FindingKind::out_of_bounds, "read_past_end", false},
    {"write_past_end_bug", "write_past_end_clean", FindingKind::out_of_bounds, "write_past_end", false},
    {"shared_past_end_bug", "shared_past_end_clean", FindingKind::out_of_bounds, "shared_past_end", false,
     {nullptr, 1, 64, 256}},
    {"shared_uninitialised_bug", "shared_uninitialised_clean", FindingKind::uninitialised, "shared_uninitialised",
     false},
    {"global_uninitialised_bug", "global_uninitialised_clean", FindingKind::uninitialised, "global_uninitialised",
     false},
    {"misaligned_vector_bug", "misaligned_vector_clean", FindingKind::misaligned, "misaligned_vector", false},
    {"blocks_race_bug", "blocks_race_clean", FindingKind::race, "blocks_race", false, {nullptr, 4}},
    {"read_only_of_written_bug", "read_only_of_written_clean", FindingKind::read_only_load, "read_only_of_written",
     false},
    {"publish_relaxed", "publish_acq_rel", FindingKind::race, "publish", false, {nullptr, 8}},
    {"publish_relaxed", "publish_fenced", FindingKind::race, "publish", false, {nullptr, 8}},
    {"atomic_and_plain_bug", "atomic_and_plain_clean", FindingKind::race, "atomic_and_plain", false},
    {"async_no_wait", "async_good", FindingKind::async_copy, "async_copy", false},
    {"async_too_few", "async_good", FindingKind::async_copy, "async_copy", false},
    {"async_no_barrier", "async_good", FindingKind::race, "async_copy", false},
    {"async_overwritten", "async_good", FindingKind::async_copy, "async_copy", false},
    {"async_misaligned", "async_good", FindingKind::misaligned, "async_misaligned", true},
    {"barrier_divided_bug", "barrier_divided_clean", FindingKind::barrier, "barrier_divided", false},
    {"barrier_after_return_bug", "barrier_after_return_clean", FindingKind::barrier, "barrier_after_return", true},
    {"barrier_against_shuffle_bug", "barrier_against_shuffle_clean", FindingKind::barrier, nullptr, true},
    {"mask_without_self_bug", "mask_without_self_clean", FindingKind::wrong_mask, "mask_without_self", true},
    {"shuffle_from_outsider_bug", "shuffle_from_outsider_clean", FindingKind::wrong_mask, "shuffle_from_outsider", true,
     {nullptr, 1, 32}},
    {"lane_returned_bug", "lane_returned_clean", FindingKind::divergence, "lane_returned", true},
    {"different_instructions_bug", "different_instructions_clean", FindingKind::divergence, "different_instructions",
     true, {nullptr, 1, 32}},
    {"mma_divided_bug", "mma_divided_clean", FindingKind::divergence, "mma_divided", false, {nullptr, 1, 32}},
    {"ldmatrix_misaligned_bug", "ldmatrix_misaligned_clean", FindingKind::misaligned, "ldmatrix_misaligned", true},
    {"large_frame", "halves", FindingKind::other, nullptr, true, {nullptr, 1, 32}},
};

constexpr std::uint64_t kSeeds = 6;

simt::Options options_of(std::uint64_t seed) {
  simt::Options options;
  options.sms = 2;
  options.seed = seed;
  return options;
}

void test_row(const Row& row) {
  std::string trouble;
  for (std::uint64_t seed = 1; seed <= kSeeds && trouble.empty(); ++seed) {
    Bench bench(options_of(seed));
    Run run = row.shape;
    run.kernel = row.clean;
    const simt::GridResult result = bench.run(run);
    if (result.status != simt::Status::ok) trouble = "status " + result.message;
    trouble += bench.found();
  }
  expect(trouble.empty(), std::string(row.clean) + " is clean");
  if (!trouble.empty()) std::printf("# %s\n", trouble.c_str());
  if (!row.fast && !simt::checked()) return;

  const std::vector<std::string> lines = row.marker != nullptr ? marked(row.marker) : std::vector<std::string>{};
  trouble.clear();
  for (std::uint64_t seed = 1; seed <= kSeeds && trouble.empty(); ++seed) {
    Bench bench(options_of(seed));
    Run run = row.shape;
    run.kernel = row.bug;
    static_cast<void>(bench.run(run));
    const auto findings = bench.machine.findings();
    if (findings.empty()) trouble = "nothing found with seed " + std::to_string(seed);
    for (const auto& finding : findings) {
      const auto known = [&](const std::string& at) { return std::ranges::find(lines, at) != lines.end(); };
      bool good = finding.kind == row.kind;
      if (row.marker != nullptr && simt::checked()) {
        good = good && known(finding.here.at) && (finding.there.at.empty() || known(finding.there.at));
      }
      if (!good) trouble += finding.format() + "\n";
    }
  }
  expect(trouble.empty(), std::string(row.bug) + " is found: " + simt::name_of(row.kind));
  if (!trouble.empty()) std::printf("# %s\n", trouble.c_str());
}

bool only(const Bench& bench, FindingKind kind) {
  const auto findings = bench.machine.findings();
  return !findings.empty() && std::ranges::all_of(findings, [&](const auto& one) { return one.kind == kind; });
}

void test_orders() {
  if (!simt::checked()) return;
  {
    Bench bench(options_of(3));
    bench.run({"plain_write", 1, 64, 0, 1});
    bench.run({"plain_read", 1, 64, 0, 2});
    const auto findings = bench.machine.findings();
    const auto lines = marked("grids_race");
    bool good = only(bench, FindingKind::race);
    for (const auto& one : findings) good = good && !lines.empty() && one.there.kernel != one.here.kernel;
    expect(good, "grids of two streams that no event orders race");
  }
  {
    Bench bench(options_of(3));
    bench.run({"plain_write", 1, 64, 0, 1});
    bench.run({"plain_read", 1, 64, 0, 1});
    expect(bench.found().empty(), "grids of one stream are in order");
  }
  {
    Bench bench(options_of(3));
    bench.run({"plain_write", 1, 64, 0, 1});
    const simt::Token event = bench.machine.join(1, {});
    bench.machine.join(2, std::vector<simt::Token>{event});
    bench.run({"plain_read", 1, 64, 0, 2});
    expect(bench.found().empty(), "a stream that waits for an event is after it, and what follows there too");
  }
  {
    Bench bench(options_of(3));
    bench.run({"plain_write", 1, 64, 0, 1});
    bench.machine.host_access({bench.b, 64, false, 9, {}, "download"});
    expect(only(bench, FindingKind::race), "a copy that is not after its grid races");
  }
  {
    Bench bench(options_of(3));
    const simt::Token grid = bench.start({"plain_write", 1, 64, 0, 1});
    bench.machine.wait(grid);
    bench.machine.host_access({bench.b, 64 * 4, false, 9, {grid}, "download"});
    expect(bench.found().empty(), "a copy after its grid is in order");
    bench.machine.host_access({bench.b, 65 * 4, false, 9, {grid}, "download"});
    expect(only(bench, FindingKind::uninitialised), "a copy of what nobody wrote is found");
  }
  {
    Bench bench(options_of(3));
    const simt::Token grid = bench.start({"plain_write"});
    bench.machine.wait(grid);
    bench.machine.on_free(bench.b, {});
    expect(only(bench, FindingKind::use_after_free), "memory freed while a grid may use it is found");
  }
  {
    Bench bench(options_of(3));
    const simt::Token grid = bench.start({"plain_write"});
    bench.machine.wait(grid);
    bench.machine.on_free(bench.b, std::vector<simt::Token>{grid});
    expect(bench.found().empty(), "memory freed after its grids is in order");
    const auto result = bench.run({"plain_write"});
    expect(only(bench, FindingKind::use_after_free) && result.status == simt::Status::illegal_address,
           "a write to freed memory is found and fails the grid");
  }
  {
    Bench bench(options_of(3));
    bench.run({"plain_write"});
    bench.machine.poison(bench.b, 256);
    bench.run({"plain_read"});
    expect(only(bench, FindingKind::uninitialised), "poisoned memory has no value until it is written");
  }
}

void test_waiting() {
  for (const char* kernel : {"grid_barrier", "grid_barrier_by_loads"}) {
    simt::Options options = options_of(5);
    options.spin_limit = 200'000;
    options.live_blocks = 1;                     // more only while they spin
    const Run run{kernel, 4, 256, 120 * 1024};  // one block for each SM
    {
      options.sms = 4;
      Bench bench(options);
      const auto result = bench.run(run);
      const bool in_order = kernel == std::string("grid_barrier") || !simt::checked();
      expect(result.status == simt::Status::ok && (!in_order || bench.found().empty()),
             std::string(kernel) + " ends where all blocks are resident");
    }
    {
      options.sms = 3;
      Bench bench(options);
      const auto result = bench.run(run);
      bool found = false;
      for (const auto& one : bench.machine.findings()) found = found || one.kind == FindingKind::deadlock;
      expect(result.status == simt::Status::deadlock && found,
             std::string(kernel) + " is a deadlock where a block has no SM");
    }
  }
  {
    Bench bench(options_of(5));
    bench.run({"barrier_against_shuffle_bug"});
    const std::string text = bench.found();
    expect(text.find("__syncthreads") != std::string::npos && text.find("a shuffle") != std::string::npos,
           "a deadlock says who waits where");
  }
}

}  // namespace

void test_detectors() {
  for (const Row& row : kRows) test_row(row);
  for (const char* kernel : {"halves", "own_data", "sub_masks"}) {
    Bench bench(options_of(2));
    bench.run({kernel});
    expect(bench.found().empty(), std::string(kernel) + " is clean");
  }
  if (simt::checked()) {
    Bench bench(options_of(2));
    bench.run({"publish_no_last_barrier", 8});
    bool race = false;
    for (const auto& one : bench.machine.findings()) race = race || one.kind == FindingKind::race;
    expect(race, "what one thread acquired is not its block's until a barrier");
  }
  test_orders();
  test_waiting();
}

}  // namespace lab
