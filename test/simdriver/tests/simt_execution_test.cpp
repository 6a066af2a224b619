// Scheduling: residency, SM sets, overlap of grids, seeds, ends.
#include <set>

#include "simt_lab.hpp"

namespace lab {

namespace {

simt::Options with(int sms, std::uint64_t seed, int workers = 1) {
  simt::Options options;
  options.sms = sms;
  options.seed = seed;
  options.workers = workers;
  options.live_blocks = 64;
  return options;
}

simt::SmSet set_of(int first, int count) {
  simt::SmSet set;
  for (int i = first; i < first + count; ++i) set.set(static_cast<std::size_t>(i));
  return set;
}

void test_residency() {
  {
    Bench bench(with(3, 1));
    const auto result = bench.run({"live_blocks", 40, 64, 80 * 1024});  // two on an SM of sm_80
    expect(result.status == simt::Status::ok && bench.flags[2] == 40, "every block runs once");
    expect(bench.flags[1] <= 6, "no more blocks live than fit");
    expect(bench.flags[1] >= 4, "blocks run side by side");
    expect(result.sms_used.count() == 3, "all SMs are used");
  }
  {
    Bench bench(with(8, 1));
    const auto result = bench.run({"live_blocks", 40, 64, 150 * 1024, 1, {}, set_of(5, 2)});
    expect(bench.flags[1] <= 2 && (result.sms_used & ~set_of(5, 2)).none(), "blocks stay on their SMs");
  }
  const simt::SmLimits a100 = simt::limits_of(80), rtx4090 = simt::limits_of(89);
  expect(simt::occupancy(a100, 256, 64, 0) == 4 && simt::occupancy(a100, 1024, 32, 0) == 2, "registers bound occupancy");
  expect(simt::occupancy(a100, 128, 32, 163 * 1024) == 1 && simt::occupancy(rtx4090, 128, 32, 100 * 1024) == 0,
         "shared memory bounds occupancy");
  {
    Bench bench(with(1, 1));
    const auto result = bench.run({"live_blocks", 1, 64, 200 * 1024});
    expect(result.status == simt::Status::aborted && !result.message.empty(), "a block that fits nowhere is refused");
  }
}

void test_overlap() {
  // Each waits for the other's grid: they end only if both are in flight.
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    Bench bench(with(4, seed));
    const simt::Token first = bench.start({"wait_for_other", 4, 64, 0, 1, {}, set_of(0, 2)});
    const simt::Token second = bench.start({"tell_other", 1, 64, 0, 2, {}, set_of(2, 2)});
    bench.machine.wait(first);
    bench.machine.wait(second);
    if (bench.results.size() != 2 || bench.results[0].status != simt::Status::ok ||
        (bench.results[0].sms_used & bench.results[1].sms_used).any()) {
      expect(false, "grids of two streams overlap on disjoint SMs");
      return;
    }
  }
  expect(true, "grids of two streams overlap on disjoint SMs");

  Bench bench(with(2, 1));
  const simt::Token stuck = bench.start({"wait_for_other", 2, 64, 0, 1});
  bench.machine.abort();
  bench.machine.wait(stuck);
  expect(bench.results[0].status == simt::Status::aborted, "abort ends what is in flight");
  const auto after = bench.run({"live_blocks", 4});
  expect(after.status == simt::Status::ok, "the machine goes on after an abort");
}

void test_seeds() {
  const auto first_lanes = [](std::uint64_t seed) {
    Bench bench(with(1, seed));
    bench.run({"first_lanes", 1, 32});
    return std::vector<float>(bench.b, bench.b + 16);
  };
  const auto once = first_lanes(1);
  expect(once == first_lanes(1), "a seed gives one order");
  expect(once != first_lanes(2), "another seed gives another");
  expect(std::set<float>(once.begin(), once.end()).size() > 4, "no lane is always the first");
}

void test_collectives() {
  Bench bench(with(1, 7));
  bench.run({"collectives", 1, 32});
  std::string wrong = bench.found();
  const auto check = [&](int row, int lane, float wanted) {
    if (bench.b[row * 32 + lane] != wanted) wrong += " row " + std::to_string(row) + " lane " + std::to_string(lane);
  };
  for (int lane = 0; lane < 32; ++lane) {
    check(0, lane, float((lane + 5) % 32));
    check(1, lane, float(lane / 8 * 8 + 3));
    check(2, lane, float(lane < 2 ? lane : lane - 2));
    check(3, lane, float(lane % 16 + 3 < 16 ? lane + 3 : lane));
    check(4, lane, float(lane ^ 6));
    check(5, lane, 9);
    check(6, lane, 3);
    check(7, lane, 496);
    check(8, lane, -7);
    check(9, lane, 8);
    check(10, lane, 11);
    check(11, lane, 1);
  }
  expect(wrong.empty(), "shuffles, votes and reductions give what CUDA gives");
  if (!wrong.empty()) std::printf("# %s\n", wrong.c_str());
}

void test_workers() {
  if (simt::checked()) return;
  Bench bench(with(4, 3, 2));
  for (int round = 0; round < 20; ++round) {
    const simt::Token one = bench.start({"live_blocks", 30, 256, 1024, 1});
    const simt::Token two = bench.start({"live_blocks", 30, 256, 1024, 2});
    bench.machine.wait(one);
    bench.machine.wait(two);
  }
  expect(bench.flags[2] == 20 * 60 && bench.flags[0] == 0 && bench.found().empty(), "two workers run every block once");
}

}  // namespace

void test_execution() {
  test_residency();
  test_overlap();
  test_seeds();
  test_collectives();
  test_workers();
}

}  // namespace lab
