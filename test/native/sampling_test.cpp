#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <random>
#include <set>
#include <vector>

#include "check.hpp"
#include "sampling_host.hpp"

namespace splitwiser {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

std::int32_t draw(std::vector<float>& logits, const SamplingParams& params, std::uint64_t seed, std::uint32_t choice,
                  std::uint32_t position, SampleScratch& scratch) {
  return sample_row(logits, params, {}, {}, {}, seed, choice, position, scratch);
}

SamplingParams at(float temperature) {
  SamplingParams params;
  params.temperature = temperature;
  return params;
}

// std::uniform_*_distribution differ between libraries; the engine does not.
float uniform(std::mt19937& random) { return float(random() >> 8) * 0x1p-24f; }

std::vector<float> normal_row(std::mt19937& random, std::size_t size, float deviation) {
  std::vector<float> row(size);
  for (float& logit : row) {
    float sum = -6;
    for (int i = 0; i < 12; i++) sum += uniform(random);
    logit = sum * deviation;
  }
  return row;
}

// The rules of sampling.hpp by a full sort: what is kept, by ascending id.
struct Plain {
  std::vector<std::int32_t> ids;
  std::vector<std::uint64_t> weights;
  std::uint64_t total = 0;
};

Plain keep_by_sort(const std::vector<float>& row, const SamplingParams& params) {
  const auto value = [&](std::int32_t id) { return std::isnan(row[std::size_t(id)]) ? -kInf : row[std::size_t(id)]; };
  std::vector<std::int32_t> order(row.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) { return value(a) > value(b); });
  const float highest = value(order[0]);
  if (params.temperature == 0 || highest == -kInf) return {{order[0]}, {1}, 1};
  if (params.top_k > 0 && std::size_t(params.top_k) < order.size()) {
    const float border = value(order[std::size_t(params.top_k) - 1]);
    std::erase_if(order, [&](std::int32_t id) { return value(id) < border; });
  }
  const float scale = sampling::tempered_scale(params.temperature);
  const auto weight = [&](std::int32_t id) { return sampling::token_weight(value(id), highest, scale); };
  std::erase_if(order, [&](std::int32_t id) {
    return weight(id) == 0 || double(weight(id)) < double(params.min_p) * double(weight(order[0]));
  });
  std::uint64_t total = 0;
  for (const std::int32_t id : order) total += weight(id);
  std::uint64_t dropped = 0;
  while (params.top_p < 1 && order.size() > 1) {
    dropped += weight(order.back());
    if (double(dropped) > (1 - params.top_p) * double(total)) break;
    order.pop_back();
  }
  Plain plain;
  std::sort(order.begin(), order.end());
  plain.ids = order;
  for (const std::int32_t id : order) {
    plain.weights.push_back(weight(id));
    plain.total += weight(id);
  }
  return plain;
}

bool same_as_sort(const std::vector<float>& row, const SamplingParams& params, SampleScratch& scratch) {
  const Plain plain = keep_by_sort(row, params);
  const KeptTokens kept = sampling::keep_tokens(row, params, scratch);
  if (kept.count != plain.ids.size()) return false;
  if (!std::equal(plain.ids.begin(), plain.ids.end(), scratch.ids.begin())) return false;
  if (kept.count == 1) return true;  // of a single token any weight does
  return kept.total == plain.total && std::equal(plain.weights.begin(), plain.weights.end(), scratch.weights.begin());
}

SamplingParams random_params(std::mt19937& random, std::size_t vocab) {
  constexpr float kTemperatures[] = {0.0f, 0.01f, 0.5f, 0.7f, 1.0f, 1.0f, 1.5f, 30.0f};
  constexpr double kTopPs[] = {1, 1, 1e-9, 0.1, 0.5, 0.9, 0.95, 0.999999, 0};
  constexpr float kMinPs[] = {0, 0, 0, 1e-6f, 0.02f, 0.3f, 1};
  SamplingParams params = at(kTemperatures[random() % std::size(kTemperatures)]);
  params.top_p = kTopPs[random() % std::size(kTopPs)];
  params.min_p = kMinPs[random() % std::size(kMinPs)];
  if (random() % 2 == 0) params.top_k = std::int32_t(random() % (vocab + 3));
  return params;
}

TEST("radix selection keeps what a full sort keeps, on 12,000 random rows") {
  std::mt19937 random(7);
  SampleScratch scratch;
  int wrong = 0;
  for (int n = 0; n < 12000; n++) {
    const std::size_t vocab = 1 + random() % (n % 10 == 0 ? 400 : 40);
    std::vector<float> row = normal_row(random, vocab, n % 3 == 0 ? 1.0f : 5.0f);
    for (float& logit : row) {
      if (n % 4 == 0) logit = std::round(logit);  // ties, -0 among them
      const auto special = random() % 40;
      if (n % 5 == 0 && special == 0) logit = -kInf;
      if (n % 5 == 0 && special == 1) logit = kNaN;
      if (n % 50 == 0 && special == 2) logit = kInf;
      if (n % 7 == 0) logit *= 1000;
    }
    if (!same_as_sort(row, random_params(random, vocab), scratch)) wrong++;
  }
  CHECK_EQ(wrong, 0);
}

TEST("radix selection keeps what a full sort keeps, on vocabularies from 397 to 152,000") {
  std::mt19937 random(8);
  SampleScratch scratch;
  int wrong = 0;
  for (const std::size_t vocab : {397u, 32000u, 50272u, 152000u}) {
    for (int n = 0; n < 6; n++) {
      std::vector<float> row = normal_row(random, vocab, n % 2 == 0 ? 2.0f : 0.05f);
      if (n >= 4) {
        for (float& logit : row) logit = std::round(logit * 4) / 4;
      }
      SamplingParams params = random_params(random, vocab);
      params.temperature = 0.8f;
      if (!same_as_sort(row, params, scratch)) wrong++;
    }
  }
  CHECK_EQ(wrong, 0);
}

TEST("weights follow 2^x to 2e-7 and never exceed the highest's") {
  for (int i = 0; i <= 400000; i++) {
    const float logit = -float(i) * 7e-5f;
    const double exact = std::ldexp(std::exp2(double(logit) * 1.4426950408889634), 40);
    const auto weight = double(sampling::token_weight(logit, 0.0f, sampling::tempered_scale(1)));
    if (std::abs(weight - exact) > 1 + exact * (2e-7 + 2e-7 * double(-logit))) CHECK_NEAR(weight, exact, 0);
    if (weight > 0x1p40) CHECK_EQ(weight, 0x1p40);
  }
  CHECK_EQ(sampling::token_weight(-100, 0, sampling::tempered_scale(1)), 0u);
  CHECK_EQ(sampling::token_weight(-kInf, 0, 0), 0u);
  CHECK_EQ(sampling::token_weight(kNaN, 0, 1), 0u);
  CHECK_EQ(sampling::token_weight(kInf, kInf, 1), std::uint64_t(1) << 40);
}

TEST("weights have the same bits on every machine") {
  std::uint64_t hash = 0xCBF29CE484222325u;  // FNV-1a
  std::mt19937 random(3);
  for (int i = 0; i < 200000; i++) {
    const float logit = -60 * uniform(random), temperature = 0.05f + 3 * uniform(random);
    hash = (hash ^ sampling::token_weight(logit, 0.25f, sampling::tempered_scale(temperature))) * 0x100000001B3u;
  }
  CHECK_EQ(hash, 10402472433148508562u);
}

TEST("the order of keys is that of logits, with -0 as +0 and NaN as -inf") {
  const std::vector<float> ascending = {-kInf, -3.4e38f, -1.5f, -1e-45f, 0.0f, 1e-45f, 1.0f, 1.0000001f, 3.4e38f, kInf};
  for (std::size_t i = 1; i < ascending.size(); i++) {
    CHECK(sampling::logit_key(ascending[i - 1]) < sampling::logit_key(ascending[i]));
  }
  CHECK_EQ(sampling::logit_key(-0.0f), sampling::logit_key(0.0f));
  CHECK_EQ(sampling::logit_key(kNaN), sampling::logit_key(-kInf));
  CHECK_EQ(sampling::logit_key(-kNaN), sampling::kLowestKey);
}

TEST("Philox4x32-10 gives the published vectors") {
  const auto words = [](sampling::Philox counter, std::uint32_t key0, std::uint32_t key1) {
    const sampling::Philox out = sampling::philox4x32(counter, key0, key1);
    return std::vector<std::uint32_t>(out.word, out.word + 4);
  };
  constexpr std::uint32_t kOnes = 0xFFFFFFFFu;
  CHECK_EQ(words({{0, 0, 0, 0}}, 0, 0), (std::vector<std::uint32_t>{0x6627E8D5u, 0xE169C58Du, 0xBC57AC4Cu, 0x9B00DBD8u}));
  CHECK_EQ(words({{kOnes, kOnes, kOnes, kOnes}}, kOnes, kOnes),
           (std::vector<std::uint32_t>{0x408F276Du, 0x41C83B0Eu, 0xA20BC7C6u, 0x6D5451FDu}));
  CHECK_EQ(words({{0x243F6A88u, 0x85A308D3u, 0x13198A2Eu, 0x03707344u}}, 0xA4093822u, 0x299F31D0u),
           (std::vector<std::uint32_t>{0xD16CFE09u, 0x94FDCCEBu, 0x5001E420u, 0x24126EA1u}));
}

TEST("the high half of a 64-bit product is exact") {
  constexpr std::uint64_t kMost = ~std::uint64_t(0);
  CHECK_EQ(sampling::mul_high(kMost, kMost), kMost - 1);
  CHECK_EQ(sampling::mul_high(kMost, 1), 0u);
  CHECK_EQ(sampling::mul_high(std::uint64_t(1) << 63, 2), 1u);
  CHECK_EQ(sampling::mul_high(0x123456789ABCDEF0u, 0xFEDCBA9876543210u), 0x121FA00AD77D7422u);
}

TEST("another seed, choice or position is another stream; the same is the same") {
  std::set<std::uint64_t> seen;
  for (std::uint64_t seed : {std::uint64_t(0), std::uint64_t(1), std::uint64_t(1) << 32, ~std::uint64_t(0)}) {
    for (std::uint32_t choice = 0; choice < 16; choice++) {
      for (std::uint32_t position = 0; position < 64; position++) seen.insert(sampling::random_bits(seed, choice, position));
    }
  }
  CHECK_EQ(seen.size(), 4u * 16 * 64);

  std::vector<float> flat(1000, 0.5f);
  SampleScratch scratch, fresh;
  int equal = 0;
  for (std::uint32_t position = 0; position < 200; position++) {
    const std::int32_t token = draw(flat, at(1), 5, 0, position, scratch);
    CHECK_EQ(token, draw(flat, at(1), 5, 0, position, fresh));
    if (token == draw(flat, at(1), 5, 1, position, scratch)) equal++;
    if (token == draw(flat, at(1), 5, 0, position + 1, scratch)) equal++;
    if (token == draw(flat, at(1), 6, 0, position, scratch)) equal++;
  }
  CHECK(equal < 10);
}

// Pearson's statistic over the tokens that are expected at least 5 times; draws on the others count as one cell.
double chi_square_excess(std::vector<float> row, const SamplingParams& params, std::uint64_t seed) {
  constexpr int kDraws = 40000;
  SampleScratch scratch;
  std::vector<double> probs(row.size());
  distribution_row(row, params, {}, {}, {}, probs, scratch);
  std::vector<int> drawn(row.size());
  for (int i = 0; i < kDraws; i++) {
    const std::int32_t token = draw(row, params, seed, std::uint32_t(i % 3), std::uint32_t(i / 3), scratch);
    drawn[std::size_t(token)]++;
  }
  double statistic = 0, rest = 0;
  int cells = 0, rest_drawn = 0;
  for (std::size_t i = 0; i < row.size(); i++) {
    const double expected = probs[i] * kDraws;
    if (probs[i] == 0 && drawn[i] > 0) return kInf;
    if (expected >= 5) {
      statistic += (drawn[i] - expected) * (drawn[i] - expected) / expected;
      cells++;
    } else {
      rest += expected;
      rest_drawn += drawn[i];
    }
  }
  if (rest >= 5) {
    statistic += (rest_drawn - rest) * (rest_drawn - rest) / rest;
    cells++;
  }
  // Wilson-Hilferty: (statistic / freedom)^(1/3) is nearly normal; in deviations from its mean.
  const double freedom = std::max(1, cells - 1), spread = 2 / (9 * freedom);
  return (std::cbrt(statistic / freedom) - (1 - spread)) / std::sqrt(spread);
}

TEST("draws follow the distribution: chi-square on fixed seeds") {
  std::mt19937 random(11);
  SamplingParams params = at(1);
  CHECK(chi_square_excess({0, 1, 2, 3, -1, 0.5f, 0.5f, -kInf}, params, 1) < 3.5);
  CHECK(chi_square_excess(std::vector<float>(64, 2.0f), params, 2) < 3.5);
  CHECK(chi_square_excess(normal_row(random, 397, 2), params, 3) < 3.5);
  params.top_k = 20;
  params.temperature = 0.7f;
  CHECK(chi_square_excess(normal_row(random, 397, 1), params, 4) < 3.5);
  params.top_p = 0.8;
  params.min_p = 0.05f;
  CHECK(chi_square_excess(normal_row(random, 397, 1), params, 5) < 3.5);
}

TEST("greedy takes the lowest id on ties, by value and not by sign of zero") {
  SampleScratch scratch;
  std::vector<float> row = {-1, -0.0f, 0.0f, kNaN, -5};
  CHECK_EQ(draw(row, at(0), 0, 0, 0, scratch), 1);
  row = {kNaN, 2, 7, 7, 1};
  CHECK_EQ(draw(row, at(0), 0, 0, 0, scratch), 2);
}

TEST("a row of nothing but -inf or NaN gives token 0, one candidate gives that one") {
  SampleScratch scratch;
  for (const std::size_t vocab : {1u, 2u, 397u, 50272u}) {
    for (const float temperature : {0.0f, 1.0f}) {
      std::vector<float> row(vocab, -kInf);
      CHECK_EQ(draw(row, at(temperature), 1, 0, 0, scratch), 0);
      row.assign(vocab, kNaN);
      CHECK_EQ(draw(row, at(temperature), 1, 0, 0, scratch), 0);
      row.back() = -1e30f;
      CHECK_EQ(draw(row, at(temperature), 1, 0, 0, scratch), vocab - 1);
    }
  }
}

TEST("extreme temperatures, penalties and filters still give a token") {
  std::mt19937 random(5);
  SampleScratch scratch;
  std::vector<float> row = normal_row(random, 397, 50000);
  const auto best = std::int32_t(std::max_element(row.begin(), row.end()) - row.begin());
  for (const float temperature : {1e-45f, 1e-30f}) CHECK_EQ(draw(row, at(temperature), 1, 0, 0, scratch), best);
  std::set<std::int32_t> drawn;
  for (std::uint32_t i = 0; i < 50; i++) drawn.insert(draw(row, at(kInf), 1, 0, i, scratch));
  CHECK(drawn.size() > 30);  // flat
  SamplingParams params = at(1);
  params.top_p = 0;
  CHECK_EQ(draw(row, params, 1, 0, 0, scratch), best);
  params.top_p = -3;
  params.min_p = 9;
  params.top_k = 1 << 30;
  CHECK_EQ(draw(row, params, 1, 0, 0, scratch), best);
}

TEST("penalties and bias are taken back, ids outside the row are passed over") {
  std::vector<float> row = {1, -2, 3, -0.0f, kNaN};
  const std::vector<float> before = row;
  SamplingParams params = at(0);
  params.repetition_penalty = 4;
  params.presence_penalty = 0.25f;
  params.frequency_penalty = 0.5f;
  const std::vector<TokenCount> counts = {{2, 3, 1}, {0, 0, 1}, {-1, 1, 1}, {99, 1, 1}, {2147483647, 1, 0}};
  const std::vector<TokenBias> bias = {{2, 0.5f}, {3, -kInf}, {5, 100}, {1, 2.25f}};
  const std::vector<std::int32_t> forbidden = {2, -7, 50};
  SampleScratch scratch;
  std::vector<double> probs(row.size());
  // 2: 3 / 4 - 0.25 - 1.5 + 0.5 = -0.5, then forbidden; 0: 1 / 4; 1: -2 + 2.25 = 0.25; the tie goes to 0.
  CHECK_EQ(sample_row(row, params, counts, bias, forbidden, 0, 0, 0, scratch), 0);
  params.temperature = 1;
  const KeptTokens kept = distribution_row(row, params, counts, bias, {}, probs, scratch);
  CHECK_EQ(kept.count, 3u);
  CHECK_NEAR(probs[2] / probs[0], std::exp(-0.75), 1e-6);
  CHECK_EQ(probs[0], probs[1]);
  for (std::size_t i = 0; i < row.size(); i++) {
    CHECK_EQ(std::bit_cast<std::uint32_t>(row[i]), std::bit_cast<std::uint32_t>(before[i]));
  }
}

struct Entry {
  std::int32_t token;
  float logprob;
};

TEST("log-probabilities agree with a reference in long double; the top is best first, lowest id among equals") {
  std::mt19937 random(9);
  std::vector<float> row = normal_row(random, 5000, 4);
  for (float& logit : row) logit = std::round(logit * 2) / 2;
  row[17] = -kInf;
  row[18] = kNaN;
  long double sum = 0;
  for (const float logit : row) sum += logit > -kInf ? std::exp((long double)(logit)) : 0;
  for (std::int32_t token = 0; token < 5000; token += 7) {
    const float logit = row[std::size_t(token)];
    if (token != 18) CHECK_NEAR(log_softmax_at(row, token), double(logit - std::log(sum)), 2e-6);
  }
  CHECK_EQ(log_softmax_at(row, 17), -kInf);
  CHECK_EQ(log_softmax_at(row, 18), -kInf);

  std::vector<std::int32_t> order(row.size());
  std::iota(order.begin(), order.end(), 0);
  const auto value = [&](std::int32_t id) { return std::isnan(row[std::size_t(id)]) ? -kInf : row[std::size_t(id)]; };
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) { return value(a) > value(b); });
  for (const std::size_t n : {0u, 1u, 5u, 100u, 5000u, 9000u}) {
    std::vector<Entry> top;
    top_logprobs(row, n, top);
    CHECK_EQ(top.size(), std::min(n, row.size()));
    bool same = true;
    for (std::size_t i = 0; i < top.size(); i++) same = same && top[i].token == order[i];
    CHECK(same);
    if (!top.empty()) CHECK_EQ(top[0].logprob, log_softmax_at(row, top[0].token));
  }
  const std::vector<float> none(4, -kInf);
  CHECK_EQ(log_softmax_at(none, 2), -kInf);
  CHECK_NEAR(log_softmax_at(std::vector<float>{kInf, 0, kInf}, 2), -std::log(2.0), 1e-7);
}

}  // namespace
}  // namespace splitwiser
