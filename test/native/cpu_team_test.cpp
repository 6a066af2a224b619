#include <atomic>
#include <stdexcept>
#include <thread>

#include "backend/cpu/team.hpp"
#include "check.hpp"
#include "cpu_support.hpp"

namespace splitwiser {
namespace {

using namespace cpu_test;
using cpu::Team;

// Steps of many small regions; every chunk of every region must have run exactly once when parallel() returns.
void run_steps(Team& team, Phase phase, int steps, std::atomic<int>& wrong) {
  std::vector<int> counts;
  for (int step = 0; step < steps; ++step) {
    team.begin_step(phase);
    for (int region = 0; region < 8; ++region) {
      const int chunks = 1 + (step * 7 + region * 13) % 40;
      counts.assign(std::size_t(chunks), 0);
      team.parallel(phase, chunks, [&](std::int64_t chunk, float* scratch) {
        scratch[0] = float(chunk);  // scratch belongs to one thread at a time
        counts[std::size_t(chunk)] += 1;
        if (scratch[0] != float(chunk)) ++wrong;
      });
      for (const int count : counts) wrong += count != 1;
      if (region % 4 == 3) team.yield_point(phase);
    }
    team.end_step(phase);
    if (step % 16 == 0) std::this_thread::yield();
  }
}

TEST("a team runs every chunk once while both lanes step at the same time") {
  for (const int threads : {1, 2, 3, 5}) {
    Team team(threads);
    for (const Partition partition : {Partition::cores, Partition::none}) {
      team.configure({partition, 0.5});
      std::atomic<int> wrong{0};
      std::thread decode([&] { run_steps(team, Phase::decode, 300, wrong); });
      run_steps(team, Phase::prefill, 300, wrong);
      decode.join();
      CHECK_EQ(wrong.load(), 0);
    }
  }
}

TEST("workers help a lane while their own is idle") {
  // Two threads, one core each: the chunks of the prefill lane wait for each other, so a helper must come.
  Team team(2);
  team.configure({Partition::cores, 0.5});
  team.begin_step(Phase::prefill);
  std::atomic<int> inside{0};
  team.parallel(Phase::prefill, 2, [&](std::int64_t, float*) {
    ++inside;
    while (inside.load() < 2) std::this_thread::yield();
  });
  team.end_step(Phase::prefill);
  CHECK_EQ(inside.load(), 2);
}

TEST("a region's exception reaches the caller and the team goes on") {
  for (const int threads : {1, 3}) {
    Team team(threads);
    std::atomic<int> after{0};
    team.begin_step(Phase::decode);
    bool caught = false;
    try {
      team.parallel(Phase::decode, 50, [&](std::int64_t chunk, float*) {
        if (chunk == 17) throw std::runtime_error("broken");
      });
    } catch (const std::runtime_error&) {
      caught = true;
    }
    team.parallel(Phase::decode, 50, [&](std::int64_t, float*) { ++after; });
    team.end_step(Phase::decode);
    CHECK(caught);
    CHECK_EQ(after.load(), 50);
  }
}

TEST("cores are divided by the share, each lane keeps at least one, and lanes of one thread take turns") {
  Team eight(8);
  const auto cores = [&](double share) {
    CHECK(eight.configure({std::nullopt, share}) == Partition::cores);
    CHECK_EQ(eight.info(Phase::prefill).cores + eight.info(Phase::decode).cores, 8);
    return eight.info(Phase::prefill).cores;
  };
  CHECK_EQ(cores(0.5), 4);
  CHECK_EQ(cores(0.7), 6);
  CHECK_EQ(cores(0.01), 1);
  CHECK_EQ(cores(0.99), 7);
  CHECK_NEAR(eight.info(Phase::prefill).share, 0.875, 1e-12);
  CHECK(eight.configure({Partition::none, 0.25}) == Partition::none);
  CHECK_EQ(eight.info(Phase::decode).cores, 0);
  CHECK_NEAR(eight.info(Phase::decode).share, 0.75, 1e-12);
  for (const double share : {0.0, 1.0, -1.0, double(NAN)}) {
    CHECK_THROWS_CODE(eight.configure({std::nullopt, share}), ErrorCode::invalid_option);
  }
  Team one(1);
  CHECK(one.configure({Partition::cores, std::nullopt}) == Partition::none);
}

TEST("a lane that takes turns never works while the other is inside") {
  Team team(1);
  std::atomic<int> inside{0};
  std::atomic<int> wrong{0};
  const auto steps = [&](Phase phase) {
    for (int step = 0; step < 200; ++step) {
      team.begin_step(phase);
      for (int group = 0; group < 4; ++group) {
        wrong += inside.fetch_add(1) != 0;
        inside.fetch_sub(1);
        team.yield_point(phase);
      }
      team.end_step(phase);
    }
  };
  std::thread decode([&] { steps(Phase::decode); });
  steps(Phase::prefill);
  decode.join();
  CHECK_EQ(wrong.load(), 0);
}

TEST("two lanes computing at once give the bits that each gives alone") {
  constexpr std::int64_t kRows[] = {64, 3};
  for (const Partition partition : {Partition::cores, Partition::none}) {
    const auto backend = make_backend(cpu::runnable_isas().back(), 3);
    backend->configure({partition, 0.5});
    const FileMatrix matrix(160, 300, DType::bf16, 2);
    const auto weight = pack(*backend, matrix, DType::bf16);
    std::atomic<int> wrong{0};
    const auto work = [&](Phase phase, int steps) {
      const std::int64_t rows = kRows[std::size_t(phase)];
      std::vector<float> x = random_values(rows * 300, 5);
      std::vector<float> expected(std::size_t(rows * 160));
      std::vector<float> out(expected.size());
      Lane& lane = backend->lane(phase);
      lane.ops().linear(tensor(x, rows, 300), *weight, {}, tensor(expected, rows, 160));  // outside a step: alone
      for (int i = 0; i < steps; ++i) {
        const Step step(lane);
        for (int group = 0; group < 4; ++group) {
          lane.ops().linear(tensor(x, rows, 300), *weight, {}, tensor(out, rows, 160));
          wrong += !same_bits(out, expected);
          lane.yield_point();
        }
      }
    };
    std::thread decode([&] { work(Phase::decode, 100); });
    work(Phase::prefill, 25);
    decode.join();
    CHECK_EQ(wrong.load(), 0);
    CHECK(backend->lane(Phase::decode).record()->done());
  }
}

}  // namespace
}  // namespace splitwiser
