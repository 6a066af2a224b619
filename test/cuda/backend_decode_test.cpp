// decode() on cuda: graphs, several steps in flight, tokens that only the device knows.
#include <algorithm>
#include <deque>

#include "backend/cuda/cuda_backend.hpp"
#include "backend_rig.hpp"
#include "check.hpp"
#include "device_counters.hpp"
#include "sample.hpp"
#include "sampling_host.hpp"

namespace splitwiser {
namespace {

using namespace cuda_test;

constexpr int kPageSize = 16;
constexpr int kSteps = 18;

struct Sequence {
  std::vector<std::int32_t> prompt;
  std::vector<std::int32_t> pages;
  SamplingParams params{};
  std::uint64_t seed = 0;
  std::vector<std::int32_t> endings{};
  std::vector<std::int32_t> tokens{};  // drawn, the first by the prompt
  bool ended = false;
  [[nodiscard]] std::int32_t computed() const { return std::int32_t(prompt.size() + tokens.size() - 1); }
};

std::vector<Sequence> three_sequences(int vocab) {
  std::vector<Sequence> sequences;
  for (int i = 0; i < 3; i++) {
    const std::size_t length = std::size_t(5 + 12 * i);  // the second crosses into its next page at once
    Sequence sequence{random_tokens(length, vocab, unsigned(70 + i)), page_run(16 * i, 16 * kPageSize, kPageSize)};
    sequence.params.temperature = 0.7f * float(i);
    sequence.seed = std::uint64_t(900 + i);
    sequences.push_back(std::move(sequence));
  }
  return sequences;
}

std::int32_t draw(std::span<float> logits, const Sequence& sequence) {
  SampleScratch scratch;
  const auto position = std::uint32_t(sequence.prompt.size() + sequence.tokens.size());
  return sample_row(logits, sequence.params, {}, {}, {}, sequence.seed, 0, position, scratch);
}

void run_prompt(Rig& rig, Sequence& sequence) {
  RigStep step;
  step.add(sequence.prompt, 0, sequence.pages);
  auto logits = rig.logits(Phase::prefill, step);
  const auto vocab = std::size_t(rig.shape().vocab);
  sequence.tokens.push_back(draw(std::span(logits).last(vocab), sequence));
}

// Token by token, alone, by ops and the host's sampling.
std::vector<std::int32_t> reference(Rig& rig, Sequence sequence, int steps) {
  run_prompt(rig, sequence);
  for (int i = 0; i < steps; i++) {
    RigStep step;
    step.add(std::span(sequence.tokens).last(1), sequence.computed(), sequence.pages);
    auto logits = rig.logits(Phase::decode, step);
    sequence.tokens.push_back(draw(logits, sequence));
  }
  return sequence.tokens;
}

struct Flying {
  RigStep arrays;
  std::vector<std::size_t> rows;  // of sequences
  std::vector<SampleRow> samples;
  std::vector<SampleResult> results;
  std::shared_ptr<Event> done;
};

// Decodes `steps` tokens of each sequence, `in_flight` steps ahead. Rows change places, one sequence leaves on the way, others
// when they end.
std::vector<std::vector<std::int32_t>> decode(Rig& rig, std::vector<Sequence> sequences, int steps, std::size_t in_flight) {
  for (Sequence& sequence : sequences) run_prompt(rig, sequence);
  Lane& lane = rig.lane(Phase::decode);
  std::deque<Flying> flying;
  std::vector<std::vector<std::size_t>> plans;
  for (int i = 0; i < steps; i++) {
    if (i < steps / 3) {
      plans.push_back({0, 1, 2});
    } else if (i < 2 * steps / 3) {
      plans.push_back({2, 0, 1});
    } else {
      plans.push_back({2, 1});
    }
  }
  std::vector<std::int32_t> issued(sequences.size(), 0);  // tokens that steps in flight are to draw
  const StepScope scope(lane);
  const auto land = [&] {
    Flying& step = flying.front();
    lane.synchronize(*step.done);
    for (std::size_t r = 0; r < step.rows.size(); r++) {
      Sequence& sequence = sequences[step.rows[r]];
      const SampleResult& result = step.results[r];
      issued[step.rows[r]]--;
      if (sequence.ended) {
        CHECK_EQ(result.token, kRowEnded);  // the step was issued before the host knew
        continue;
      }
      sequence.tokens.push_back(result.token);
      CHECK_EQ(result.ending, ending_of(step.samples[r], result.token));
      sequence.ended = result.ending >= 0;
    }
    flying.pop_front();
  };
  for (const auto& plan : plans) {
    Flying& step = flying.emplace_back();
    for (const std::size_t i : plan) {
      if (!sequences[i].ended) step.rows.push_back(i);
    }
    for (std::size_t r = 0; r < step.rows.size(); r++) {
      const std::size_t i = step.rows[r];
      const Sequence& sequence = sequences[i];
      std::int32_t token = sequence.tokens.back();
      if (issued[i] > 0) {
        const auto& before = flying[flying.size() - 2].rows;
        token = -1 - std::int32_t(std::find(before.begin(), before.end(), i) - before.begin());
      }
      const std::int32_t position = sequence.computed() + issued[i];
      step.arrays.add(std::span(&token, 1), position, sequence.pages);
      SampleRow row;
      row.row = std::int64_t(r);
      row.params = sequence.params;
      row.seed = sequence.seed;
      row.endings = sequence.endings;
      row.position = std::uint32_t(position + 1);
      step.samples.push_back(row);
      issued[i]++;
    }
    step.results.resize(step.rows.size());
    lane.decode({step.arrays.input(), step.samples, step.results});
    step.done = lane.record();
    if (flying.size() >= in_flight) land();
  }
  while (!flying.empty()) land();
  std::vector<std::vector<std::int32_t>> tokens;
  for (const Sequence& sequence : sequences) tokens.push_back(sequence.tokens);
  return tokens;
}

void check_decode(std::size_t in_flight, std::int64_t graph_rows, const RigShape& shape = {}, int steps = kSteps) {
  Rig rig(make_cuda_backend({.ordinal = 0, .storage = DType::f16}), DType::f16, shape);
  rig.lane(Phase::decode).prepare_decode(rig.program(Phase::decode), graph_rows);
  const auto sequences = three_sequences(rig.shape().vocab);
  const auto tokens = decode(rig, sequences, steps, in_flight);
  for (std::size_t i = 0; i < sequences.size(); i++) {
    auto wanted = reference(rig, sequences[i], steps);
    wanted.resize(tokens[i].size());
    CHECK_EQ(tokens[i], wanted);
  }
}

TEST("decode steps as cuda graphs draw the tokens of single ops") { check_decode(1, 4); }
TEST("two cuda decode steps in flight draw the tokens of single ops") { check_decode(2, 4); }

// Two of three sequences end, in graphs and op by op.
TEST("a cuda row that ended is passed over by the step behind it") {
  for (const std::int64_t graph_rows : {4, 2}) {
    for (const std::size_t in_flight : {1, 2}) {
      Rig rig(make_cuda_backend({.ordinal = 0, .storage = DType::f16}), DType::f16);
      rig.lane(Phase::decode).prepare_decode(rig.program(Phase::decode), graph_rows);
      auto sequences = three_sequences(rig.shape().vocab);
      std::vector<std::vector<std::int32_t>> wanted;
      for (const Sequence& sequence : sequences) wanted.push_back(reference(rig, sequence, kSteps));
      const auto ends_with = [&](std::size_t i, std::size_t at) {
        const std::int32_t token = wanted[i][at];
        sequences[i].endings = {-1, token, 5, token};
        // The token that the prompt draws is nobody's ending here.
        const auto first = std::find(wanted[i].begin() + 1, wanted[i].end(), token);
        wanted[i].resize(std::size_t(first - wanted[i].begin()) + 1);
      };
      ends_with(1, 4);
      ends_with(2, 15);
      const auto tokens = decode(rig, sequences, kSteps, in_flight);
      wanted[0].resize(tokens[0].size());
      CHECK(tokens == wanted);
    }
  }
}

// Graphs for two rows: steps of three go by ops, the last third by graphs, and each needs the other's tokens.
TEST("a decode step with more rows than its graphs is issued op by op and hands its tokens on") { check_decode(2, 2); }

// Many blocks go over each row before it is sampled, in graphs and op by op.
TEST("cuda decode steps of a long vocabulary draw the tokens of single ops") {
  if (on_checked_tier()) {
    CHECK(true);  // the table of so many tokens takes a minute there; sample_test.cpp has these kernels
    return;
  }
  for (const std::int64_t graph_rows : {4, 2}) {
    check_decode(2, graph_rows, {.layers = 1, .heads = 2, .kv_heads = 1, .vocab = 70'003}, 4);
  }
}

TEST("cuda graphs follow a new partition") {
  Rig rig(make_cuda_backend({.ordinal = 0, .storage = DType::f16}), DType::f16);
  const auto sequences = three_sequences(rig.shape().vocab);
  std::vector<std::vector<std::int32_t>> first;
  for (const Partition kind : {Partition::cta_quota, Partition::green_context, Partition::priority}) {
    PartitionRequest request;
    request.kind = kind;
    CHECK_EQ(rig.backend().configure(request), kind);
    rig.lane(Phase::decode).prepare_decode(rig.program(Phase::decode), 3);
    const auto tokens = decode(rig, sequences, kSteps, 2);
    if (first.empty()) first = tokens;
    CHECK(tokens == first);
  }
}

}  // namespace
}  // namespace splitwiser
