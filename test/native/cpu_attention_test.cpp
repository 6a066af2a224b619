#include "check.hpp"
#include "cpu_attention_support.hpp"

namespace splitwiser {
namespace {

using namespace cpu_test;

constexpr AttentionCase kCases[] = {
    {2, 2, 64, 16, DType::f32},  {4, 2, 80, 16, DType::f16},   {3, 1, 96, 64, DType::bf16}, {8, 1, 64, 64, DType::f16},
    {4, 1, 128, 16, DType::f32}, {2, 1, 256, 32, DType::bf16}, {5, 5, 12, 16, DType::f32},  {7, 1, 20, 48, DType::f16},
    {6, 2, 72, 128, DType::f32}};

void check_against_reference(AttentionRun& run, const AttentionCase& c, const std::vector<float>& out, int token) {
  for (int head = 0; head < c.heads; ++head) {
    const auto expected = attention_reference(c, run.sequence(0), token, head);
    for (int d = 0; d < c.head_dim; ++d) {
      const float value = out[std::size_t(token * c.out_width() + std::int64_t(head) * c.head_dim + d)];
      CHECK_NEAR(value, expected[std::size_t(d)], 1e-5 + std::abs(expected[std::size_t(d)]) * 1e-5);
    }
  }
}

TEST("cpu attention agrees with float64 for every instruction set, head size, page size and type") {
  for (const cpu::Isa isa : cpu::runnable_isas()) {
    const auto backend = make_backend(isa, 2);
    for (const AttentionCase& c : kCases) {
      const int tokens = 310;  // two splits, five leaves
      AttentionRun run(*backend, c, {tokens});
      const auto out = run.run(Phase::prefill, {{{0, 0, tokens}}});
      for (const int token : {0, 1, 15, 16, 17, 63, 64, 65, 127, 150, 255, 256, 257, 309}) {
        check_against_reference(run, c, out[0], token);
      }
    }
  }
}

TEST("a row of cpu attention has the same bits whole, in chunks and token by token") {
  for (const cpu::Isa isa : cpu::runnable_isas()) {
    const auto backend = make_backend(isa, 2);
    for (const AttentionCase& c : kCases) {
      const int tokens = c.head_dim > 128 ? 200 : 330;
      AttentionRun run(*backend, c, {tokens});
      const auto whole = run.run(Phase::prefill, {{{0, 0, tokens}}});
      for (const int chunk : {1, 7, 16, 61, 128}) {
        CHECK(same_bits(run.run(Phase::decode, chunked(0, tokens, chunk))[0], whole[0]));
      }
    }
  }
}

TEST("a row of cpu attention has the same bits beside others, with any threads") {
  for (const cpu::Isa isa : cpu::runnable_isas()) {
    const auto one = make_backend(isa, 1);
    const auto four = make_backend(isa, 4);
    for (const AttentionCase& c : kCases) {
      const std::vector<int> lengths = {70, 1, 16, 300, 33, 64};
      AttentionRun alone(*one, c, lengths);
      AttentionRun mixed(*four, c, lengths);
      Plan by_one;
      Plan together(1);
      for (std::size_t s = 0; s < lengths.size(); ++s) {
        by_one.push_back({{s, 0, lengths[s]}});
        together[0].push_back({s, 0, lengths[s]});
      }
      const auto expected = alone.run(Phase::prefill, by_one);
      CHECK(same_bits(mixed.run(Phase::prefill, together), expected));
      // A mixed step: the last tokens in decode beside chunks of a prompt.
      const Plan decode = {{{0, 0, 69}, {3, 0, 290}, {4, 0, 32}}, {{3, 290, 299}, {0, 69, 70}, {4, 32, 33}, {1, 0, 1}},
                           {{2, 0, 16}, {3, 299, 300}, {5, 0, 64}}};
      CHECK(same_bits(mixed.run(Phase::decode, decode), expected));
    }
  }
}

TEST("decode of one long sequence gives the same bits when its splits are computed apart") {
  // 1 thread computes a row in one task; 4 threads and 1 KV head have a task for each split.
  for (const cpu::Isa isa : cpu::runnable_isas()) {
    const auto one = make_backend(isa, 1);
    const auto four = make_backend(isa, 4);
    for (const DType type : kDTypes) {
      const AttentionCase c{4, 1, 64, 16, type};
      const int tokens = 1030;
      AttentionRun whole(*one, c, {tokens});
      AttentionRun apart(*four, c, {tokens});
      const auto expected = whole.run(Phase::prefill, {{{0, 0, tokens}}});
      const auto out = apart.run(Phase::decode, {{{0, 0, tokens - 10}}, {{0, tokens - 10, tokens - 6}},
                                                 {{0, tokens - 6, tokens - 1}}, {{0, tokens - 1, tokens}}});
      CHECK(same_bits(out[0], expected[0]));
      check_against_reference(apart, c, out[0], tokens - 1);
    }
  }
}

TEST("values that are infinite reach only the rows that see them") {
  for (const cpu::Isa isa : cpu::runnable_isas()) {
    const auto backend = make_backend(isa, 1);
    const AttentionCase c{1, 1, 64, 16, DType::f32};
    AttentionRun run(*backend, c, {40});
    auto& qkv = const_cast<Sequence&>(run.sequence(0)).qkv;
    qkv[std::size_t(39 * c.width() + 2 * 64 + 3)] = INFINITY;  // a value of the last token
    const auto out = run.run(Phase::prefill, {{{0, 0, 40}}});
    for (int t = 0; t < 39; ++t) check_against_reference(run, c, out[0], t);
    CHECK(std::isinf(out[0][std::size_t(39 * 64 + 3)]));
  }
}

TEST("very unequal scores neither overflow nor vanish") {
  for (const cpu::Isa isa : cpu::runnable_isas()) {
    const auto backend = make_backend(isa, 1);
    const AttentionCase c{1, 1, 64, 16, DType::f32};
    AttentionRun run(*backend, c, {300});
    for (float& value : const_cast<Sequence&>(run.sequence(0)).qkv) value *= 60;
    const auto out = run.run(Phase::prefill, {{{0, 0, 300}}});
    for (int t = 0; t < 300; t += 23) {
      const auto expected = attention_reference(c, run.sequence(0), t, 0);
      for (int d = 0; d < 64; ++d) {
        // Scores of some 10^4 carry f32 errors of 10^-3.
        CHECK_NEAR(out[0][std::size_t(t * 64 + d)], expected[std::size_t(d)], 0.5 + std::abs(expected[std::size_t(d)]) * 2e-2);
      }
    }
  }
}

TEST("copying a page copies its first tokens, in every layer, and nothing else") {
  for (const DType type : kDTypes) {
    const auto backend = make_backend(cpu::runnable_isas().back(), 2);
    const KvShape shape{3, 2, 20, 16, 4, type};
    const auto pool = backend->make_kv_pool(shape);
    auto& cpu_pool = static_cast<cpu::CpuKvPool&>(*pool);
    for (std::size_t i = 0; i < cpu_pool.memory().size(); ++i) cpu_pool.memory()[i] = std::byte(i * 37 % 251);
    const std::vector<std::byte> before(cpu_pool.memory().begin(), cpu_pool.memory().end());
    const PageCopy copies[] = {{1, 3, 5}, {0, 2, 16}};
    backend->lane(Phase::decode).ops().copy_pages(*pool, copies);
    const std::size_t element = bytes_of(type);
    const auto as_before = [&](const std::byte* at) { return before.data() + (at - cpu_pool.memory().data()); };
    for (int layer = 0; layer < shape.layers; ++layer) {
      const cpu::KvLayer kv = cpu_pool.layer(layer);
      for (const PageCopy& copy : copies) {
        for (int head = 0; head < 2; ++head) {
          for (int d = 0; d < kv.head_dim; ++d) {
            for (int t = 0; t < 16; ++t) {
              const std::size_t in_key = std::size_t(d * 16 + t) * element;
              const std::size_t in_value = std::size_t(t * kv.padded_dim + d) * element;
              const std::int32_t source = t < copy.tokens ? copy.from : copy.to;
              CHECK(std::memcmp(kv.keys(copy.to, head) + in_key, as_before(kv.keys(source, head)) + in_key, element) ==
                    0);
              CHECK(std::memcmp(kv.values(copy.to, head) + in_value, as_before(kv.values(source, head)) + in_value,
                                element) == 0);
            }
          }
        }
      }
    }
  }
}

TEST("a KV pool that cannot be is refused") {
  const auto backend = make_backend(cpu::Isa::portable, 1);
  CHECK_THROWS_CODE(backend->make_kv_pool({1, 1, 64, 10, 4, DType::f32}), ErrorCode::invalid_option);
  CHECK_THROWS_CODE(backend->make_kv_pool({1, 1, 512, 16, 4, DType::f32}), ErrorCode::unsupported_model);
  CHECK_THROWS_CODE(backend->make_kv_pool({1, 1, 64, 16, std::int64_t(1) << 40, DType::f32}), ErrorCode::out_of_memory);
}

}  // namespace
}  // namespace splitwiser
