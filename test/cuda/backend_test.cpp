// The CUDA backend through the seam: against the CPU backend, against itself in other company, two lanes, events.
#include <atomic>
#include <cmath>
#include <limits>
#include <optional>
#include <thread>
#include <utility>

#include "backend/cpu/cpu_backend.hpp"
#include "backend/cuda/cuda_backend.hpp"
#include "backend_rig.hpp"
#include "check.hpp"
#include "logprobs_host.hpp"
#include "sampling_host.hpp"

namespace splitwiser {
namespace {

using namespace cuda_test;

std::unique_ptr<Backend> cuda(DType storage) { return make_cuda_backend({.ordinal = 0, .storage = storage}); }
std::unique_ptr<Backend> cpu() { return make_cpu_backend({.threads = 1}); }

// Logits lie within about 10. CPU activations are f32 throughout: with 16 bit storage each op here rounds to it.
float tolerance_of(DType type) { return type == DType::f32 ? 2e-4f : type == DType::f16 ? 6e-2f : 5e-1f; }

// A prompt of sequence 0, then a mixed step: a chunk of sequence 1 beside the next token of sequence 0.
struct TwoSteps {
  RigStep first, second;
  explicit TwoSteps(const RigShape& shape) {
    const auto a = random_tokens(38, shape.vocab, 5);
    const auto b = random_tokens(21, shape.vocab, 6);
    const auto pages_a = page_run(3, 38, shape.page_size);
    const auto pages_b = page_run(20, 21, shape.page_size);
    first.add(std::span(a).first(37), 0, pages_a);
    second.add(b, 0, pages_b);
    second.add(std::span(a).subspan(37), 37, pages_a);
  }
};

void compare_with_cpu(DType type) {
  Rig device(cuda(type), type);
  Rig host(cpu(), type);
  const TwoSteps steps(device.shape());
  for (const RigStep* step : {&steps.first, &steps.second}) {
    const auto got = device.logits(Phase::prefill, *step);
    const auto wanted = host.logits(Phase::prefill, *step);
    CHECK_NEAR(greatest_difference(got, wanted), 0.0f, tolerance_of(type));
  }
}

TEST("a cuda decoder agrees with the CPU's in f32") { compare_with_cpu(DType::f32); }
TEST("a cuda decoder agrees with the CPU's in f16") { compare_with_cpu(DType::f16); }
TEST("a cuda decoder agrees with the CPU's in bf16") { compare_with_cpu(DType::bf16); }

TEST("a row's logits on cuda have the same bits in any chunks, company and lane") {
  Rig rig(cuda(DType::f16), DType::f16);
  const RigShape& shape = rig.shape();
  const auto tokens = random_tokens(45, shape.vocab, 9);
  const auto other = random_tokens(7, shape.vocab, 10);
  RigStep whole;
  whole.add(tokens, 0, page_run(0, 45, 16));
  const auto wanted = rig.logits(Phase::prefill, whole);
  const auto vocab = std::size_t(shape.vocab);

  // In chunks of 1, 17 and 27 on other pages, each beside a sequence of its own, on both lanes.
  const auto pages = page_run(5, 45, 16);
  std::size_t at = 0;
  for (const std::size_t size : {1, 17, 26, 1}) {
    RigStep step;
    step.add(other, 0, page_run(30, 7, 16));
    step.add(std::span(tokens).subspan(at, size), std::int32_t(at), pages);
    const auto got = rig.logits(at % 2 == 0 ? Phase::decode : Phase::prefill, step);
    CHECK(same_bits(std::span(got).subspan(other.size() * vocab), std::span(wanted).subspan(at * vocab, size * vocab)));
    at += size;
  }
}

TEST("cuda samples the tokens that the host's rules give for the same logits") {
  Rig rig(cuda(DType::f32), DType::f32);
  const RigShape& shape = rig.shape();
  const auto vocab = std::size_t(shape.vocab);
  RigStep step;
  step.add(random_tokens(8, shape.vocab, 3), 0, page_run(0, 8, 16));
  const std::vector<TokenCount> counts{{3, 2, 0}, {17, 0, 1}, {200, 5, 1}};
  const std::vector<TokenBias> bias{{5, 4.0f}, {9, -std::numeric_limits<float>::infinity()}};
  const std::vector<std::int32_t> endings{0, 11};
  std::vector<std::int32_t> even;
  for (std::int32_t id = 0; id < shape.vocab; id += 2) even.push_back(id);
  std::vector<SampleRow> rows(8);
  for (std::size_t i = 0; i < rows.size(); i++) {
    SampleRow& row = rows[i];
    row.row = std::int64_t(i);
    row.seed = 40 + i;
    row.position = std::uint32_t(i + 1);
    row.params.temperature = i == 0 ? 0.0f : 0.3f * float(i);
  }
  rows[2].params.top_k = 5;
  rows[3].params.top_p = 0.8;
  rows[3].top_logprobs = 5;
  rows[4].params.min_p = 0.05f;
  rows[4].params.repetition_penalty = 1.3f;
  rows[4].params.presence_penalty = 0.2f;
  rows[4].params.frequency_penalty = 0.1f;
  rows[4].counts = counts;
  rows[4].top_logprobs = 100;  // more than the kernel keeps
  rows[5].bias = bias;
  rows[5].endings = endings;
  rows[5].forbids_endings = true;
  rows[5].top_logprobs = 0;
  rows[6].sample = false;
  rows[6].target = 33;
  rows[6].top_logprobs = 2;
  rows[7].choice = 3;
  for (const std::size_t i : {0, 1, 2, 3, 6, 7}) rows[i].endings = even;

  Lane& lane = rig.lane(Phase::decode);
  std::vector<float> logits(8 * vocab);
  std::vector<SampleResult> results(8);
  {
    const StepInput in = step.input();
    const StepScope scope(lane);
    const Tensor out = rig.forward(Phase::decode, in);
    lane.ops().read(out, std::as_writable_bytes(std::span(logits)));
    lane.ops().sample(out, rows, results);
    lane.synchronize(*lane.record());
  }
  SampleScratch scratch;
  for (std::size_t i = 0; i < rows.size(); i++) {
    const std::span<float> values(logits.data() + i * vocab, vocab);
    const SampleRow& row = rows[i];
    const std::int32_t token = row.sample ? sample_row(values, row.params, row.counts, row.bias, row.forbidden(), row.seed,
                                                       row.choice, row.position, scratch)
                                          : row.target;
    CHECK_EQ(results[i].token, token);
    CHECK_EQ(results[i].ending, row.sample && row.endings.size() == even.size() && token % 2 == 0 ? token / 2 : -1);
    if (row.top_logprobs < 0) {
      CHECK(results[i].top.empty());
      continue;
    }
    CHECK_NEAR(results[i].logprob, log_softmax_at(values, token), 1e-4);
    std::vector<TokenLogprobValue> top;
    top_logprobs(values, std::size_t(row.top_logprobs), top);
    REQUIRE(results[i].top.size() == top.size());
    for (std::size_t k = 0; k < top.size(); k++) {
      CHECK_EQ(results[i].top[k].token, top[k].token);
      CHECK_NEAR(results[i].top[k].logprob, top[k].logprob, 1e-4);
    }
  }
}

TEST("copied pages on cuda hold the first tokens of their source") {
  Rig rig(cuda(DType::f16), DType::f16);
  const auto tokens = random_tokens(20, rig.shape().vocab, 12);
  const auto next = random_tokens(1, rig.shape().vocab, 13);
  RigStep prompt;
  prompt.add(tokens, 0, page_run(0, 20, 16));
  static_cast<void>(rig.logits(Phase::prefill, prompt));
  const std::vector<std::int32_t> original{0, 1};
  const std::vector<std::int32_t> copied{0, 40};
  Lane& lane = rig.lane(Phase::decode);
  {
    const StepScope scope(lane);
    const PageCopy copy{1, 40, 4};
    lane.ops().copy_pages(rig.pool(), std::span(&copy, 1));
    lane.synchronize(*lane.record());
  }
  RigStep on_copy, on_original;
  on_copy.add(next, 20, copied);
  on_original.add(next, 20, original);
  CHECK(same_bits(rig.logits(Phase::decode, on_copy), rig.logits(Phase::decode, on_original)));
}

// Prompts run on the prefill lane while the decode lane goes on; a prompt's pages are read after its event only.
void two_lanes(Partition kind) {
  Rig rig(cuda(DType::f16), DType::f16);
  PartitionRequest request;
  request.kind = kind;
  CHECK_EQ(rig.backend().configure(request), kind);
  constexpr int kRounds = 4;
  const RigShape& shape = rig.shape();
  const auto prompt = random_tokens(40, shape.vocab, 21);
  const auto next = random_tokens(1, shape.vocab, 22);
  const auto running = random_tokens(1, shape.vocab, 23);
  const auto running_pages = page_run(47, 1, 16);
  RigStep running_step;
  running_step.add(running, 0, running_pages);
  const auto steps_on = [&](std::int32_t first_page) {
    const auto pages = page_run(first_page, 41, 16);
    std::pair<RigStep, RigStep> steps;
    steps.first.add(prompt, 0, pages);
    steps.second.add(next, 40, pages);
    return steps;
  };
  const auto alone = steps_on(0);
  static_cast<void>(rig.logits(Phase::prefill, alone.first));
  const auto wanted_next = rig.logits(Phase::decode, alone.second);
  const auto wanted_running = rig.logits(Phase::decode, running_step);

  for (int round = 0; round < kRounds; round++) {
    // Pages that nobody has written: who reads too early reads zeros.
    const auto [prompt_step, next_step] = steps_on(10 + 4 * round);
    std::shared_ptr<Event> done;
    std::atomic<bool> issued{false};
    const StepInput in = prompt_step.input();
    const StepInput after = next_step.input();
    std::vector<float> got(wanted_next.size());
    std::thread prefill([&] {
      Lane& lane = rig.lane(Phase::prefill);
      const StepScope scope(lane);
      static_cast<void>(rig.forward(Phase::prefill, in));
      done = lane.record();
      issued = true;
      lane.synchronize(*done);
    });
    CHECK(same_bits(rig.logits(Phase::decode, running_step), wanted_running));
    while (!issued) std::this_thread::yield();
    {
      Lane& lane = rig.lane(Phase::decode);
      const StepScope scope(lane);
      lane.wait(done);
      const Tensor logits = rig.forward(Phase::decode, after);
      lane.ops().read(logits, std::as_writable_bytes(std::span(got)));
      lane.synchronize(*lane.record());
    }
    prefill.join();
    CHECK(done->done());
    CHECK(same_bits(got, wanted_next));
  }
}

TEST("two cuda lanes ordered by an event give the bits of one, on green contexts") { two_lanes(Partition::green_context); }
TEST("two cuda lanes ordered by an event give the bits of one, with a quota of blocks") { two_lanes(Partition::cta_quota); }
TEST("two cuda lanes ordered by an event give the bits of one, by priority") { two_lanes(Partition::priority); }
TEST("two cuda lanes ordered by an event give the bits of one, without a partition") { two_lanes(Partition::none); }

TEST("widths that the cuda kernels do not take are refused with the remedy") {
  const auto backend = cuda(DType::f16);
  const std::vector<float> values(36, 1.0f);
  const HostMatrix odd{reinterpret_cast<const std::byte*>(values.data()), DType::f32, 3, 12};
  CHECK_THROWS_CODE(backend->pack(std::span(&odd, 1), DType::f16), ErrorCode::unsupported_model);
  CHECK_THROWS_CODE(backend->make_kv_pool({1, 1, 320, 16, 4, DType::f16}), ErrorCode::unsupported_model);
  CHECK_THROWS_CODE(backend->make_kv_pool({1, 1, 64, 24, 4, DType::f16}), ErrorCode::invalid_option);
}

}  // namespace
}  // namespace splitwiser
