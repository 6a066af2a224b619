// The kept reference rows: test/fixtures/sampling, made by test/fixtures/make_native.py from what Hugging Face's
// processors give in float64.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "check.hpp"
#include "sampling_host.hpp"

namespace splitwiser {
namespace {

struct Case {
  std::string name;
  std::string logits;
  std::size_t kept = 0;
  std::int32_t argmax = 0;
  bool tie = false;
  SamplingParams params;
  std::vector<TokenCount> counts;
  std::vector<TokenBias> bias;
  std::vector<std::int32_t> forbidden;
  std::vector<std::uint32_t> ids;  // where `expected` is known
  std::vector<float> expected;
};

struct Golden {
  std::map<std::string, std::vector<float>> rows;
  std::vector<Case> cases;
};

std::filesystem::path fixtures() {
  return std::filesystem::path(__FILE__).parent_path().parent_path() / "fixtures" / "sampling";
}

template <typename T>
std::vector<T> slice(const std::vector<char>& data, std::size_t offset, std::size_t count) {
  std::vector<T> values(count);
  if (count > 0) std::memcpy(values.data(), &data.at(offset), count * sizeof(T));
  return values;
}

void count_tokens(std::vector<TokenCount>& counts, std::istringstream& line, bool prompt) {
  std::int32_t token = 0;
  while (line >> token) {
    auto found = std::find_if(counts.begin(), counts.end(), [&](const TokenCount& c) { return c.token == token; });
    if (found == counts.end()) found = counts.insert(counts.end(), TokenCount{token, 0, 0});
    if (prompt) found->in_prompt = 1;
    if (!prompt) found->generated++;
  }
}

Golden read_golden() {
  std::ifstream binary(fixtures() / "vectors.bin", std::ios::binary);
  const std::vector<char> data{std::istreambuf_iterator<char>(binary), std::istreambuf_iterator<char>()};
  std::ifstream text(fixtures() / "cases.txt");
  Golden golden;
  std::string all;
  while (std::getline(text, all)) {
    std::istringstream line(all);
    std::string word;
    line >> word;
    if (word == "plain" || word == "table") {
      std::string name;
      std::size_t count = 0, offset = 0, entries = 0, entry_offset = 0;
      line >> name >> count;
      if (word == "plain") {
        line >> offset;
        golden.rows[name] = slice<float>(data, offset, count);
        continue;
      }
      line >> entries >> entry_offset >> offset;
      const auto table = slice<float>(data, entry_offset, entries);
      for (const auto index : slice<std::uint8_t>(data, offset, count)) golden.rows[name].push_back(table.at(index));
      continue;
    }
    if (word == "case") {
      Case& added = golden.cases.emplace_back();
      line >> added.name >> added.logits >> added.kept >> added.argmax >> added.tie;
      continue;
    }
    Case& last = golden.cases.back();
    if (word == "params") {
      SamplingParams& p = last.params;
      line >> p.temperature >> p.top_k >> p.top_p >> p.min_p;
      line >> p.repetition_penalty >> p.presence_penalty >> p.frequency_penalty;
    } else if (word == "prompt" || word == "generated") {
      count_tokens(last.counts, line, word == "prompt");
    } else if (word == "bias") {
      std::int32_t token = 0;
      std::string value;
      while (line >> token >> value) last.bias.push_back({token, std::stof(value)});
    } else if (word == "forbidden") {
      std::int32_t token = 0;
      while (line >> token) last.forbidden.push_back(token);
    } else if (word == "expect") {
      std::size_t count = 0, offset = 0;
      long long ids = 0;
      line >> count >> ids >> offset;
      last.expected = slice<float>(data, offset, count);
      if (ids >= 0) last.ids = slice<std::uint32_t>(data, std::size_t(ids), count);
      for (std::uint32_t id = 0; ids < 0 && id < count; id++) last.ids.push_back(id);
    }
  }
  return golden;
}

// The greatest excess over 1e-6 + 1e-5 * expected; at most 0 is right.
double excess(double got, double expected) { return std::abs(got - expected) - (1e-6 + 1e-5 * expected); }

std::string check_case(const Case& golden, std::vector<float> logits, SampleScratch& scratch) {
  std::vector<double> probs(logits.size());
  const KeptTokens kept =
      distribution_row(logits, golden.params, golden.counts, golden.bias, golden.forbidden, probs, scratch);
  if (kept.best != golden.argmax) return "argmax " + std::to_string(kept.best);

  // A weight is 0 below 2^-40 of the highest: such tokens count as kept in the reference, not here.
  const bool whole = golden.ids.size() == logits.size();
  std::size_t least = golden.kept, most = golden.kept;
  if (whole) {
    const double highest = *std::max_element(golden.expected.begin(), golden.expected.end());
    const auto above = [&](double border) {
      return std::size_t(std::ranges::count_if(golden.expected, [&](float p) { return p > border; }));
    };
    least = above(highest * 0x1.0001p-40);
    most = above(highest * 0x0.ffffp-40);
  }
  if (kept.count < least || kept.count > most) return "kept " + std::to_string(kept.count);

  double sum = 0;
  for (const double p : probs) sum += p;
  if (std::abs(sum - 1) > 1e-9) return "sum " + std::to_string(sum);

  std::vector<double> got, expected(golden.expected.begin(), golden.expected.end());
  for (const std::uint32_t id : golden.ids) got.push_back(probs[id]);
  if (golden.tie) {  // which of the equals stays is free: compare by value
    got = probs;
    std::sort(got.rbegin(), got.rend());
    std::sort(expected.rbegin(), expected.rend());
    got.resize(expected.size());
  }
  for (std::size_t i = 0; i < got.size(); i++) {
    if (excess(got[i], expected[i]) > 0) {
      return "p[" + std::to_string(golden.ids[i]) + "] is " + std::to_string(got[i]) + ", expected " +
             std::to_string(expected[i]);
    }
  }
  return "";
}

TEST("sampling gives the reference's distribution for every golden row") {
  const Golden golden = read_golden();
  CHECK(golden.cases.size() >= 78);
  SampleScratch scratch;
  for (const Case& entry : golden.cases) {
    const std::string wrong = check_case(entry, golden.rows.at(entry.logits), scratch);
    CHECK_EQ(entry.name + ": " + wrong, entry.name + ": ");
  }
}

TEST("a drawn token is one that the reference keeps") {
  const Golden golden = read_golden();
  SampleScratch scratch;
  for (const Case& entry : golden.cases) {
    std::vector<float> logits = golden.rows.at(entry.logits);
    std::vector<double> probs(logits.size());
    distribution_row(logits, entry.params, entry.counts, entry.bias, entry.forbidden, probs, scratch);
    for (std::uint32_t position = 0; position < 8; position++) {
      const std::int32_t token =
          sample_row(logits, entry.params, entry.counts, entry.bias, entry.forbidden, 42, 0, position, scratch);
      CHECK(probs.at(std::size_t(token)) > 0);
      if (entry.params.temperature == 0) CHECK_EQ(token, entry.argmax);
    }
  }
}

}  // namespace
}  // namespace splitwiser
