// Sampling on the device: the host's tokens from the same logits, to the bit, whatever the grid and the block; logprobs as the
// host's to rounding. SPLITWISER_TEST_LONG=1: a million rows.
#include "sample.hpp"

#include <cmath>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>
#include <utility>

#include "check.hpp"
#include "device_counters.hpp"
#include "harness.hpp"
#include "logprobs_host.hpp"
#include "sampling_host.hpp"

namespace splitwiser {
namespace {

using namespace cuda_test;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

bool long_test() {
  const char* wish = std::getenv("SPLITWISER_TEST_LONG");
  return wish != nullptr && std::string(wish) == "1";
}

// What one slot wants, and its logits.
struct Row {
  std::vector<float> logits;
  SamplingParams params{};
  std::vector<TokenCount> counts{};
  std::vector<TokenBias> bias{};
  std::vector<std::int32_t> endings{};
  bool forbids_endings = false;
  std::uint64_t seed = 0;
  std::uint32_t choice = 0, position = 0;
  std::int32_t top = -1;
  std::int32_t target = -1;  // not -1: only logprobs, of this token

  [[nodiscard]] std::span<const std::int32_t> forbidden() const {
    return forbids_endings ? std::span<const std::int32_t>(endings) : std::span<const std::int32_t>{};
  }
};

struct Drawn {
  std::vector<SampleOutput> outputs;
  std::vector<LogprobOutput> top;
  std::vector<std::int32_t> tokens;
  std::vector<float> logits;
};

struct Launching {
  int sms = 0;
  std::uint32_t block = 0;  // of logprobs and sample; 0: the plan's
  std::int32_t real = -1;   // -1: no count on the device
  bool scan = false;        // many blocks go over each row before, as they do over long ones
  std::vector<std::int32_t> ended{};  // empty: no row has
};

// Rows of logits lie in the opposite order of the slots.
Drawn run(const std::vector<Row>& rows, const Launching& launching = {}) {
  const std::size_t vocab = rows.front().logits.size();
  std::vector<float> logits;
  std::vector<SampleSlot> slots;
  std::vector<TokenCount> counts;
  std::vector<TokenBias> bias;
  std::vector<std::int32_t> endings;
  bool wanted = false, changes = false;
  for (auto row = rows.rbegin(); row != rows.rend(); ++row) logits.insert(logits.end(), row->logits.begin(), row->logits.end());
  for (std::size_t i = 0; i < rows.size(); i++) {
    const Row& row = rows[i];
    SampleSlot slot{};
    slot.params = row.params;
    slot.seed = row.seed;
    slot.row = std::int64_t(rows.size() - 1 - i);
    slot.choice = row.choice;
    slot.position = row.position;
    slot.target = row.target;
    slot.top_logprobs = row.top;
    slot.sample = row.target < 0 ? 1 : 0;
    slot.counts_begin = std::int32_t(counts.size());
    slot.bias_begin = std::int32_t(bias.size());
    slot.endings_begin = std::int32_t(endings.size());
    counts.insert(counts.end(), row.counts.begin(), row.counts.end());
    bias.insert(bias.end(), row.bias.begin(), row.bias.end());
    endings.insert(endings.end(), row.endings.begin(), row.endings.end());
    slot.counts_end = std::int32_t(counts.size());
    slot.bias_end = std::int32_t(bias.size());
    slot.endings_end = std::int32_t(endings.size());
    slot.forbids_endings = row.forbids_endings ? 1 : 0;
    slots.push_back(slot);
    wanted = wanted || row.top >= 0;
    changes = changes || !row.counts.empty() || !row.bias.empty() || !row.forbidden().empty();
  }
  const auto count = std::int64_t(rows.size());
  const auto entries = std::int64_t(counts.size() + bias.size() + endings.size());
  const auto logits_at = upload<float>(logits);
  const auto slots_at = upload<SampleSlot>(slots);
  const auto counts_at = upload<TokenCount>(counts);
  const auto bias_at = upload<TokenBias>(bias);
  const auto endings_at = upload<std::int32_t>(endings);
  const auto ended_at = upload<std::int32_t>(launching.ended);
  const auto outputs = filled<SampleOutput>(rows.size(), 0xff);
  const auto top = filled<LogprobOutput>(rows.size() * kMaxTopLogprobs, 0xff);
  const auto tokens = filled<std::int32_t>(rows.size(), 0xff);
  const auto scratch = filled<std::uint64_t>(std::size_t(sample_scratch_bytes(count, entries)) / 8, 0xff);
  const auto scan = filled<std::uint64_t>(std::size_t(count * scan_words(std::int64_t(vocab))), 0xff);
  const auto real = upload<std::int32_t>(std::vector<std::int32_t>{launching.real});
  SampleParams params{};
  params.logits = logits_at.data();
  params.slots = slots_at.data();
  params.counts = counts_at.data();
  params.bias = bias_at.data();
  params.endings = endings_at.data();
  params.ended = launching.ended.empty() ? nullptr : ended_at.data();
  params.outputs = outputs.data();
  params.top = top.data();
  params.tokens = tokens.data();
  params.real_count = launching.real < 0 ? nullptr : real.data();
  params.scratch = wanted ? scratch.data() : nullptr;
  params.scan = launching.scan ? scan.data() : nullptr;
  params.vocab = std::int64_t(vocab);
  params.count = std::int32_t(count);
  const DeviceShape device = shape(launching.sms);
  LaunchPlan logprobs = plan_logprobs(params, wanted, device), sample = plan_sample(params, device);
  if (launching.block != 0) logprobs.block = sample.block = launching.block;
  for (const LaunchPlan& plan :
       {logprobs, plan_adjust(params, changes, device), plan_scan(params, device), plan_bins(params, device), sample}) {
    if (plan.grid != 0) launch(plan, params);
  }
  return {outputs.download(), top.download(), tokens.download(), logits_at.download()};
}

bool near(float a, float b) { return a == b || std::abs(a - b) <= 4e-6f + 4e-7f * std::abs(b); }

// Empty where the device's answer is the host's.
std::string difference(const Row& row, const Drawn& drawn, std::size_t i, SampleScratch& scratch) {
  std::vector<float> logits = row.logits;
  const std::int32_t token = row.target >= 0 ? row.target
                                             : sample_row(logits, row.params, row.counts, row.bias, row.forbidden(), row.seed,
                                                          row.choice, row.position, scratch);
  const SampleOutput& output = drawn.outputs[i];
  const auto at = std::ranges::find(row.endings, token);
  const std::int32_t ending = row.target >= 0 || at == row.endings.end() ? -1 : std::int32_t(at - row.endings.begin());
  const std::int32_t handed_on = ending < 0 ? token : kRowEnded;
  if (output.token != token || (row.target < 0 && drawn.tokens[i] != handed_on)) {
    return "token " + std::to_string(output.token) + ", the host has " + std::to_string(token);
  }
  if (output.ending != ending) return "ending " + std::to_string(output.ending) + ", the host has " + std::to_string(ending);
  if (row.top < 0) return output.logprob == 0 ? "" : "a logprob that nobody wants";
  const LogNormalizer normalizer = log_normalizer(row.logits);
  const float logprob = log_softmax_at(row.logits, token, normalizer);
  if (!near(output.logprob, logprob)) {
    return "logprob " + std::to_string(output.logprob) + ", the host has " + std::to_string(logprob);
  }
  std::vector<LogprobOutput> expected;
  top_logprobs(row.logits, std::size_t(row.top), normalizer, expected);
  expected.resize(std::size_t(row.top), {-1, -kInfinity});
  for (std::size_t k = 0; k < expected.size(); k++) {
    const LogprobOutput& entry = drawn.top[i * kMaxTopLogprobs + k];
    if (entry.token != expected[k].token || !near(entry.logprob, expected[k].logprob)) {
      return "top " + std::to_string(k) + ": " + std::to_string(entry.token) + ", the host has " + std::to_string(expected[k].token);
    }
  }
  return "";
}

// Checks all rows; says what is wrong with the first that differs.
void check_rows(const std::vector<Row>& rows, const Launching& launching = {}) {
  const Drawn drawn = run(rows, launching);
  SampleScratch scratch;
  for (std::size_t i = 0; i < rows.size(); i++) {
    const std::string wrong = difference(rows[i], drawn, i, scratch);
    if (wrong.empty()) continue;
    const SamplingParams& p = rows[i].params;
    const std::string found = "row " + std::to_string(i) + " of " + std::to_string(rows[i].logits.size()) + " logits, temperature " +
                              std::to_string(p.temperature) + ", top-k " + std::to_string(p.top_k) + ", top-p " +
                              std::to_string(p.top_p) + ", min-p " + std::to_string(p.min_p) + ": " + wrong;
    CHECK_EQ(found, "");
    return;
  }
  CHECK(drawn.outputs.size() == rows.size());
}

class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  unsigned below(std::size_t n) { return unsigned(engine_() % n); }
  bool one_in(unsigned n) { return below(n) == 0; }
  float uniform() { return float(engine_() >> 8) * 0x1p-24f; }
  float normal() {  // nearly: Irwin and Hall's sum of twelve
    float sum = -6;
    for (int i = 0; i < 12; i++) sum += uniform();
    return sum;
  }
  template <typename T, std::size_t n>
  T of(const T (&values)[n]) { return values[below(n)]; }
  std::uint64_t bits() { return std::uint64_t(engine_()) << 32 | engine_(); }

 private:
  std::mt19937 engine_;
};

std::vector<float> random_logits(Random& random, std::size_t vocab) {
  const float deviation = random.of({0.1f, 1.0f, 2.5f, 6.0f, 30.0f});
  std::vector<float> x(vocab);
  for (float& value : x) value = random.normal() * deviation;
  switch (random.below(12)) {
    case 0:
      for (float& value : x) value = std::round(value);  // ties
      break;
    case 1:
      for (float& value : x) value = random.one_in(3) ? -kInfinity : std::round(value * 2) / 2;
      break;
    case 2:
      std::fill(x.begin(), x.end(), -kInfinity);
      if (!random.one_in(3)) x[random.below(vocab)] = random.normal();  // one candidate
      break;
    case 3:
      for (float& value : x) value = random.one_in(5) ? std::numeric_limits<float>::quiet_NaN() : value;
      break;
    case 4: std::fill(x.begin(), x.end(), x[0]); break;
    case 5:
      for (float& value : x) value = random.one_in(2) ? 0.0f : -0.0f;
      break;
    case 6: x[random.below(vocab)] = x[random.below(vocab)] = kInfinity; break;
    case 7:
      for (float& value : x) value *= 1e30f;
      break;
    default: break;
  }
  return x;
}

Row random_row(Random& random, std::size_t vocab) {
  Row row{.logits = random_logits(random, vocab)};
  SamplingParams& p = row.params;
  const auto n = std::int32_t(vocab);
  if (!random.one_in(8)) p.temperature = random.of({1.0f, 0.7f, 1.5f, 0.01f, 1e-30f, 5.0f, 100.0f});
  if (random.one_in(2)) p.top_k = random.of({1, 2, 5, 50, 300, n - 1, n, n + 7});
  if (random.one_in(2)) p.top_p = random.of({0.0, 0.1, 0.5, 0.9, 0.95, 0.999999});
  if (random.one_in(3)) p.min_p = random.of({0.05f, 0.5f, 1.0f, 1e-9f});
  const auto distinct = [&](std::size_t most) {  // ids of a stretch, some of them outside the row
    std::vector<std::int32_t> ids(1 + random.below(std::min(vocab, most)));
    auto id = std::int32_t(random.below(vocab)) - 1;
    for (std::int32_t& to : ids) to = id, id += 1 + std::int32_t(random.below(1 + vocab / 40));
    return ids;
  };
  if (random.one_in(3)) {
    p.repetition_penalty = random.of({1.3f, 0.8f, 1.0f});
    p.presence_penalty = random.of({0.5f, 0.0f, -1.0f});
    p.frequency_penalty = random.of({0.1f, 0.0f});
    for (const std::int32_t id : distinct(60)) row.counts.push_back({id, std::int32_t(random.below(4)), std::int32_t(random.below(2))});
  }
  if (random.one_in(5)) {
    for (const std::int32_t id : distinct(5)) row.bias.push_back({id, random.of({3.0f, -2.0f, -kInfinity, 40.0f})});
  }
  if (random.one_in(5)) {
    for (int i = 0; i < 4; i++) row.endings.push_back(std::int32_t(random.below(vocab + 2)) - 1);
    row.endings.push_back(row.endings.front());
    row.forbids_endings = random.one_in(2);
    // One that is likely to be drawn.
    if (random.one_in(2)) row.endings.push_back(std::int32_t(std::ranges::max_element(row.logits) - row.logits.begin()));
  }
  if (random.one_in(4)) row.top = random.of({0, 1, 5, 20, 64});
  if (random.one_in(12)) {
    row.target = std::int32_t(random.below(vocab));
    row.top = random.of({0, 3});
  }
  row.seed = random.bits();
  row.choice = random.below(4);
  row.position = random.below(5000);
  return row;
}

std::vector<Row> random_rows(unsigned seed, std::size_t count, std::size_t vocab) {
  Random random(seed);
  std::vector<Row> rows;
  for (std::size_t i = 0; i < count; i++) rows.push_back(random_row(random, vocab));
  return rows;
}

TEST("sampling: the device draws the host's tokens on many random rows") {
  const std::size_t all = long_test() ? 1'000'000 : on_checked_tier() ? 4'000 : 20'000;
  constexpr std::size_t kBatch = 500;
  for (std::size_t done = 0; done < all; done += kBatch) {
    check_rows(random_rows(unsigned(done + 1), kBatch, done % 1000 == 0 ? 397 : 61), {.scan = done % 2000 < 1000});
  }
}

TEST("sampling: vocabularies of 1 to 151,936") {
  const std::size_t times = long_test() ? 50 : 1;
  for (const auto& [vocab, count] : {std::pair<std::size_t, std::size_t>{1, 30}, {3, 60}, {400, 40}, {4096, 12}, {32001, 4}, {50272, 3}, {151936, 2}}) {
    for (const bool scan : {false, true}) check_rows(random_rows(unsigned(vocab), count * times, vocab), {.scan = scan});
  }
}

TEST("sampling: any grid and any block width give the same tokens") {
  const std::vector<Row> rows = random_rows(77, 24, 397);
  for (const Launching& launching : {Launching{1, 0}, {3, 0}, {1, 64}, {2, 96}, {5, 512}, {.sms = 3, .scan = true}}) check_rows(rows, launching);
}

TEST("sampling: more tokens left than the list in shared memory holds") {
  Random random(5);
  constexpr std::size_t kVocab = 12'011;
  const std::vector<float> equal(kVocab, 2.5f), nothing(kVocab, -kInfinity);
  std::vector<float> close_by(kVocab), few(kVocab);
  for (float& value : close_by) value = 0.01f * random.normal();
  for (float& value : few) value = random.one_in(10) ? 0.01f * random.normal() : 1.0f;
  const auto row = [](const std::vector<float>& logits, SamplingParams params, std::uint64_t seed, std::int32_t top = -1) {
    Row out{.logits = logits, .params = params};
    out.seed = seed;
    out.top = top;
    return out;
  };
  const std::vector<Row> rows{row(equal, {.temperature = 1, .top_k = 9'000}, 1, 64), row(equal, {.temperature = 1, .top_p = 0.7}, 2),
              row(close_by, {.temperature = 1, .top_k = 9'000, .top_p = 0.9}, 3, 64),
              row(close_by, {.temperature = 1, .min_p = 0.99f}, 4), row(few, {.temperature = 1, .top_k = 11'000, .top_p = 0.95}, 5, 64),
              row(nothing, {.temperature = 1}, 6, 64), row(close_by, {.temperature = 2, .top_p = 0.99}, 7)};
  for (const bool scan : {false, true}) check_rows(rows, {.scan = scan});
}

TEST("sampling: rows that are not real, or not of any slot, stay as they were") {
  std::vector<Row> rows = random_rows(9, 6, 50);
  for (Row& row : rows) row.target = -1, row.top = 2, row.bias = {{1, 5.0f}}, row.counts.clear(), row.endings = {2}, row.forbids_endings = true;
  const Drawn drawn = run(rows, {.sms = 2, .block = 0, .real = 4});
  SampleScratch scratch;
  for (std::size_t i = 0; i < 4; i++) CHECK_EQ(difference(rows[i], drawn, i, scratch), "");
  for (std::size_t i = 4; i < 6; i++) {
    CHECK_EQ(drawn.tokens[i], -1);
    CHECK_EQ(drawn.outputs[i].token, -1);
    const float* logits = drawn.logits.data() + (5 - i) * 50;
    CHECK(std::memcmp(logits, rows[i].logits.data(), 50 * sizeof(float)) == 0);
  }
}

TEST("sampling: a row that ended before draws nothing, the others as ever") {
  for (const bool scan : {false, true}) {
    std::vector<Row> rows = random_rows(19, 6, 400);
    for (Row& row : rows) row.target = -1;
    const Drawn drawn = run(rows, {.sms = 2, .scan = scan, .ended = {0, 1, 0, 0, 1, 0}});
    SampleScratch scratch;
    for (const std::size_t i : {0, 2, 3, 5}) CHECK_EQ(difference(rows[i], drawn, i, scratch), "");
    for (const std::size_t i : {1, 4}) {
      CHECK_EQ(drawn.tokens[i], kRowEnded);
      CHECK_EQ(drawn.outputs[i].token, kRowEnded);
      CHECK_EQ(drawn.outputs[i].ending, -1);
    }
  }
}

TEST("sampling: nothing is launched for no slots, and no logprobs where nobody wants any") {
  SampleParams params{};
  params.vocab = 100;
  CHECK_EQ(plan_sample(params, shape()).grid, 0);
  params.count = 3;
  CHECK_EQ(plan_logprobs(params, false, shape()).grid, 0);
  CHECK(plan_logprobs(params, true, shape()).grid > 0);
}

TEST("sampling: rows are scanned before where they are long and few") {
  DeviceShape device = shape();
  device.sms = 132;
  CHECK_EQ(sample_scan_bytes(1, 50'272, device), 0);
  CHECK_EQ(sample_scan_bytes(100, 151'936, device), 0);
  CHECK_EQ(sample_scan_bytes(2, 151'936, device), 2 * 8 * scan_words(151'936));
  SampleParams params{};
  params.vocab = 151'936;
  params.count = 2;
  CHECK_EQ(plan_scan(params, device).grid, 0);
  CHECK_EQ(plan_bins(params, device).grid, 0);
  std::uint64_t somewhere = 0;
  params.scan = &somewhere;
  CHECK(plan_scan(params, device).grid >= 132);
  CHECK(plan_bins(params, device).grid >= 64);
  CHECK_EQ(plan_sample(params, device).grid, 2);
}

}  // namespace
}  // namespace splitwiser
