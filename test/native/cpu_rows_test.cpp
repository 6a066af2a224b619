#include <cmath>
#include <limits>

#include "backend/cpu/kernels.hpp"
#include "check.hpp"
#include "cpu_support.hpp"
#include "sampling_host.hpp"

namespace splitwiser {
namespace {

using namespace cpu_test;

TEST("f16 widens and narrows exactly for all 65,536 values") {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const F16 half{std::uint16_t(bits)};
    const float wide = widen(half);
    const F16 back = narrow<F16>(wide);
    if (std::isnan(wide)) {
      CHECK(std::isnan(widen(back)));
    } else {
      CHECK_EQ(back.bits, half.bits);
    }
  }
}

TEST("narrowing rounds to nearest, ties to even, in plain C++ and in every instruction set") {
  std::vector<float> values = {0.0f,     -0.0f,    1.0f,      65504.0f, 65519.9f, 65520.0f, 1e9f,
                               -1e9f,    6e-8f,    2.9e-8f,   3e-8f,    6.1e-5f,  6.0e-5f,  5.96046448e-8f,
                               2.98023224e-8f, 1.00048828125f, 1.00146484375f,
                               std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                               std::nanf(""), 3.3895314e38f, 1e-40f};
  // Around every border of f16: halves between neighbours, and the floats beside them.
  for (std::uint32_t bits = 0; bits < 0x7bffu; bits += 7) {
    const float low = widen(F16{std::uint16_t(bits)});
    const float high = widen(F16{std::uint16_t(bits + 1)});
    const float middle = low + (high - low) / 2;
    values.insert(values.end(), {middle, std::nextafter(middle, high), -std::nextafter(middle, low)});
    CHECK_EQ(narrow<F16>(middle).bits, bits % 2 == 0 ? bits : bits + 1);
    CHECK_EQ(narrow<F16>(std::nextafter(middle, high)).bits, bits + 1);
    CHECK_EQ(narrow<F16>(std::nextafter(middle, low)).bits, bits);
  }
  CHECK_EQ(narrow<BF16>(1.00390625f).bits, 0x3f80);  // a tie: to even
  CHECK_EQ(narrow<BF16>(1.01171875f).bits, 0x3f82);
  for (const cpu::Isa isa : cpu::runnable_isas()) {
    const cpu::CpuKernels& kernels = cpu::kernels_of(isa);
    for (const DType type : {DType::f16, DType::bf16}) {
      std::vector<std::uint16_t> stored(values.size());
      kernels.narrow(values.data(), std::int64_t(values.size()), type, reinterpret_cast<std::byte*>(stored.data()));
      for (std::size_t i = 0; i < values.size(); ++i) {
        const std::uint16_t scalar = type == DType::f16 ? narrow<F16>(values[i]).bits
                                                        : narrow<BF16>(values[i]).bits;
        if (std::isnan(values[i])) {
          const float back = type == DType::f16 ? widen(F16{stored[i]}) : widen(BF16{stored[i]});
          CHECK(std::isnan(back));
        } else {
          CHECK_EQ(stored[i], scalar);
        }
      }
    }
  }
}

TEST("cpu layer norm agrees with float64 and each row has the bits that it has alone") {
  for (const cpu::Isa isa : cpu::runnable_isas()) {
    const auto backend = make_backend(isa, 2);
    for (const std::int64_t cols : {1, 5, 16, 64, 144, 160, 397, 768}) {
      const std::int64_t rows = 33;
      std::vector<float> x = random_values(rows * cols, 1, 3);
      for (float& value : x) value += 10;
      const FileMatrix weight(1, cols, DType::f16, 2);
      const FileMatrix bias(1, cols, DType::f32, 3);
      const auto w = upload(*backend, weight);
      const auto b = upload(*backend, bias);
      std::vector<float> out(x.size());
      {
        const Step step(backend->lane(Phase::prefill));
        backend->lane(Phase::prefill).ops().layer_norm(tensor(x, rows, cols), {w.get(), b.get(), 1e-5f}, tensor(out, rows, cols));
      }
      for (std::int64_t r = 0; r < rows; ++r) {
        const float* row = x.data() + r * cols;
        double mean = 0;
        double variance = 0;
        for (std::int64_t c = 0; c < cols; ++c) mean += row[c] / double(cols);
        for (std::int64_t c = 0; c < cols; ++c) variance += (row[c] - mean) * (row[c] - mean) / double(cols);
        for (std::int64_t c = 0; c < cols; ++c) {
          const double expected =
              (row[c] - mean) / std::sqrt(variance + 1e-5) * weight.values[std::size_t(c)] + bias.values[std::size_t(c)];
          // At 1 column the difference to the mean is a rounding error that 1 / sqrt(eps) enlarges.
          CHECK_NEAR(out[std::size_t(r * cols + c)], expected, 1e-5 + std::abs(expected) * 1e-5);
        }
        std::vector<float> alone(row, row + cols);
        backend->lane(Phase::decode).ops().layer_norm(tensor(alone, 1, cols), {w.get(), b.get(), 1e-5f}, tensor(alone, 1, cols));
        CHECK(same_bits(alone, std::span(out).subspan(std::size_t(r * cols), std::size_t(cols))));
      }
    }
  }
}

TEST("embeddings are read out of packed weights, positions with their offset") {
  for (const DType type : kDTypes) {
    const auto backend = make_backend(cpu::runnable_isas().back(), 2);
    const FileMatrix tokens(50, 144, type, 1);
    const FileMatrix positions(40, 144, type, 2);
    const auto token_weight = pack(*backend, tokens, type);
    const auto position_weight = pack(*backend, positions, type);
    const std::vector<std::int32_t> ids = {49, 0, 16, 15, 17, 3};
    const std::vector<std::int32_t> at = {0, 37, 1, 14, 15, 16};
    StepInput in;
    in.token_ids = ids;
    in.positions = at;
    std::vector<float> out(ids.size() * 144);
    std::vector<float> added(ids.size() * 144);
    Ops& ops = backend->lane(Phase::decode).ops();
    ops.embed(in, *token_weight, position_weight.get(), 2, tensor(out, 6, 144));
    ops.embed(in, *token_weight, nullptr, 0, tensor(added, 6, 144));
    ops.add_positions(in, *position_weight, 2, tensor(added, 6, 144));
    CHECK(same_bits(out, added));
    for (std::size_t r = 0; r < ids.size(); ++r) {
      for (std::size_t c = 0; c < 144; ++c) {
        CHECK_EQ(out[r * 144 + c],
                 tokens.values[std::size_t(ids[r]) * 144 + c] + positions.values[std::size_t(at[r] + 2) * 144 + c]);
      }
    }
  }
}

TEST("rows are gathered in the order asked for, and read back") {
  const auto backend = make_backend(cpu::Isa::portable, 2);
  std::vector<float> x = random_values(9 * 33, 1);
  std::vector<float> out(4 * 33);
  const std::int32_t rows[] = {8, 0, 3, 3};
  Ops& ops = backend->lane(Phase::prefill).ops();
  ops.gather_rows(tensor(x, 9, 33), rows, tensor(out, 4, 33));
  for (std::size_t r = 0; r < 4; ++r) {
    CHECK(same_bits(std::span(out).subspan(r * 33, 33), std::span(x).subspan(std::size_t(rows[r]) * 33, 33)));
  }
  std::vector<float> host(out.size());
  ops.read(tensor(out, 4, 33), std::as_writable_bytes(std::span(host)));
  CHECK(same_bits(host, out));
}

TEST("cpu sampling draws the tokens of sample_row, with the model's own log-probabilities") {
  constexpr std::int64_t kVocab = 397;
  constexpr std::size_t kRows = 9;
  const auto backend = make_backend(cpu::runnable_isas().back(), 2);
  std::vector<float> logits = random_values(std::int64_t(kRows) * kVocab, 1, 4);
  const std::vector<float> before = logits;
  const std::int32_t forbidden[] = {5};
  std::vector<std::int32_t> even;
  for (std::int32_t id = 0; id < kVocab; id += 2) even.push_back(id);
  std::vector<SampleRow> rows;
  for (std::size_t r = 0; r < kRows; ++r) {
    SampleRow row{.row = std::int64_t(kRows - 1 - r)};
    row.params.temperature = r % 3 == 0 ? 0.0f : 0.8f;
    row.forbids_endings = r % 2 == 0;
    row.endings = row.forbids_endings ? std::span<const std::int32_t>(forbidden) : even;
    row.seed = 7;
    row.position = std::uint32_t(r);
    row.top_logprobs = int(r % 4) - 1;
    if (r == 8) {
      row.sample = false;
      row.target = 11;
    }
    rows.push_back(row);
  }
  std::vector<SampleResult> results(kRows);
  {
    const Step step(backend->lane(Phase::decode));
    backend->lane(Phase::decode).ops().sample(tensor(logits, kRows, kVocab), rows, results);
  }
  SampleScratch scratch;
  for (std::size_t r = 0; r < kRows; ++r) {
    std::vector<float> row(before.begin() + rows[r].row * kVocab, before.begin() + (rows[r].row + 1) * kVocab);
    const std::int32_t token = rows[r].sample ? sample_row(row, rows[r].params, {}, {}, rows[r].forbidden(), 7, 0,
                                                           std::uint32_t(r), scratch)
                                              : 11;
    CHECK_EQ(results[r].token, token);
    CHECK_EQ(results[r].ending, r % 2 == 1 && token % 2 == 0 ? token / 2 : -1);
    CHECK_EQ(results[r].top.size(), std::size_t(std::max(0, rows[r].top_logprobs)));
    if (rows[r].top_logprobs >= 0) CHECK_EQ(results[r].logprob, log_softmax_at(row, token));
  }
}

}  // namespace
}  // namespace splitwiser
