#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "check.hpp"
#include "engine/text/text.hpp"
#include "text_support.hpp"

namespace splitwiser {
namespace {

using namespace text_test;

// ---- the kept reference streams: test/fixtures/tokenizers, made by test/fixtures/make_native.py ------------------

struct Stream {
  Tokens ids;
  std::string final;
  std::vector<std::string> prefixes;
  std::optional<std::vector<std::string>> pieces;
};

struct Golden {
  Vocab vocabulary;
  std::vector<Stream> streams;
};

std::string unhex(const std::string& hex) {
  std::string text;
  if (hex == "-") return text;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) text += char(std::stoi(hex.substr(i, 2), nullptr, 16));
  return text;
}

std::vector<std::string> unhex_all(std::istringstream& line) {
  std::vector<std::string> texts;
  std::string hex;
  while (line >> hex) texts.push_back(unhex(hex));
  return texts;
}

Golden read_golden(const std::string& name) {
  const auto test = std::filesystem::path(__FILE__).parent_path().parent_path();
  std::ifstream file(test / "fixtures" / "tokenizers" / (name + ".native.txt"));
  Golden golden;
  VocabularyKind kind = VocabularyKind::byte_level;
  std::vector<std::pair<std::string, TokenKind>> tokens;
  std::string all, word, value;
  while (std::getline(file, all)) {
    std::istringstream line(all);
    line >> word;
    if (word == "kind") {
      line >> value;
      kind = value == "byte-level" ? VocabularyKind::byte_level
             : value == "metaspace" ? VocabularyKind::metaspace
                                    : VocabularyKind::byte_fallback;
    } else if (word == "token") {
      int flag = 0;
      value.clear();
      line >> flag >> value;
      tokens.emplace_back(unhex(value), TokenKind(flag));
    } else if (word == "ids") {
      golden.streams.emplace_back();
      for (std::int32_t id = 0; line >> id;) golden.streams.back().ids.push_back(id);
    } else if (word == "final") {
      const auto texts = unhex_all(line);
      golden.streams.back().final = texts.empty() ? "" : texts[0];
    } else if (word == "prefixes") {
      golden.streams.back().prefixes = unhex_all(line);
    } else if (word == "pieces") {
      golden.streams.back().pieces = unhex_all(line);
    }
  }
  golden.vocabulary = make(kind, tokens);
  return golden;
}

constexpr const char* kNames[] = {"byte-level-bpe", "llama-bpe", "t5-unigram"};

TEST("streamed text joins to the reference decode, and every prefix decodes as the reference's") {
  for (const char* name : kNames) {
    const Golden golden = read_golden(name);
    CHECK(golden.streams.size() >= 21);
    for (const Stream& stream : golden.streams) {
      CHECK_EQ(run(golden.vocabulary, stream.ids, {}).text, stream.final);
      CHECK_EQ(stream.prefixes.size(), stream.ids.size() + 1);
      for (std::size_t i = 0; i < stream.prefixes.size(); i++) {
        const Tokens prefix(stream.ids.begin(), stream.ids.begin() + std::ptrdiff_t(i));
        CHECK_EQ(decode(golden.vocabulary, prefix), stream.prefixes[i]);
      }
    }
  }
}

TEST("byte-level and metaspace text never comes later than the reference's") {
  for (const char* name : {"byte-level-bpe", "t5-unigram"}) {
    const Golden golden = read_golden(name);
    for (const Stream& stream : golden.streams) {
      const std::vector<std::string> pieces = run(golden.vocabulary, stream.ids, {}).pieces;
      std::string sent, expected;
      for (std::size_t i = 0; i + 1 < stream.ids.size(); i++) {  // with its last piece the reference ends the stream
        sent += pieces[i];
        expected += stream.pieces.value()[i];
        CHECK(sent.starts_with(expected));
      }
    }
  }
}

TEST("a stop string taken from any reference text cuts it at its step, in every kind of vocabulary") {
  for (const char* name : kNames) {
    const Golden golden = read_golden(name);
    for (const Stream& stream : golden.streams) {
      const std::string& text = stream.final;
      if (text.find(kReplacement) != std::string::npos) continue;
      for (std::size_t at = 0; at + 1 < text.size(); at++) {
        const std::string stop = text.substr(at, 5);
        if (!is_utf8(stop)) continue;
        const Run cut = run(golden.vocabulary, stream.ids, {stop});
        CHECK_EQ(cut.text, text.substr(0, text.find(stop)));
        CHECK_EQ(cut.stop, 0);
        // Not a token earlier, not a token later.
        CHECK(stream.prefixes[cut.stopped_at].find(stop) != std::string::npos);
        CHECK(stream.prefixes[cut.stopped_at - 1].find(stop) == std::string::npos);
      }
    }
  }
}

// ---- decoding ----------------------------------------------------------------------------------------------------

TEST("an emoji split over four tokens appears once, whole") {
  const Run result = run(bytewise(), bytes_of("a\xF0\x9F\x98\x80z"), {});
  CHECK_EQ(result.pieces, (std::vector<std::string>{"a", "", "", "", "\xF0\x9F\x98\x80", "z", ""}));
}

TEST("invalid bytes become U+FFFD, one for each maximal part of a character") {
  const std::string r(kReplacement);
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"\xC0\x80", r + r},                            // never a lead byte
      {"\xE0\x80\x80", r + r + r},                    // overlong: the part ends before the second byte
      {"\xED\xA0\x80", r + r + r},                    // surrogate
      {"\xF4\x90\x80\x80", r + r + r + r},            // above U+10FFFF
      {"\xF0\x9F\x98z", r + "z"},                     // three bytes of four: one part
      {"\xE2\x82\xE2\x82\xAC", r + "\xE2\x82\xAC"},   // a lead byte ends the part and begins the next
      {"\x80\xBF", r + r},
      {"\xF1\x80\xC2", r + r},
      {std::string("a\0b", 3), std::string("a\0b", 3)},
      {"\xF5\xFF", r + r},
      {"\xE2\x82", r},
  };
  for (const auto& [bytes, text] : cases) CHECK_EQ(run(bytewise(), bytes_of(bytes), {}).text, text);
}

TEST("a run of byte tokens is text as a whole or U+FFFD for each byte; special tokens do not end it") {
  const std::string r(kReplacement);
  const Vocab vocabulary = fallback();
  CHECK_EQ(run(vocabulary, join({{1}, run_of("\xC3\xA9!"), {1}}), {}).text, "ab\xC3\xA9!ab");
  CHECK_EQ(run(vocabulary, join({{1}, run_of("\xC3\xA9\xFF"), {1}}), {}).text, "ab" + r + r + r + "ab");
  CHECK_EQ(run(vocabulary, join({{1}, run_of("x\xC3"), {1}, run_of("y")}), {}).text, "ab" + r + r + "aby");
  CHECK_EQ(run(vocabulary, join({run_of("\xC3"), {0}, run_of("\xA9"), {1}}), {}).text, "\xC3\xA9" "ab");
  CHECK_EQ(run(vocabulary, join({run_of("\xC3"), {4}, run_of("\xA9")}), {}).text, r + r);
  CHECK_EQ(run(vocabulary, run_of("ok\xE2\x82"), {}).text, r + r + r + r);
}

TEST("one blank at the very beginning is dropped, wherever it comes from") {
  const std::string r(kReplacement);
  const Vocab vocabulary = fallback();
  CHECK_EQ(run(vocabulary, {2, 2}, {}).text, "ab ab");
  CHECK_EQ(run(vocabulary, {3, 1}, {}).text, " ab");
  CHECK_EQ(run(vocabulary, {0, 4, 2, 2}, {}).text, "ab ab");
  CHECK_EQ(run(vocabulary, join({run_of("  x"), {2}}), {}).text, " x ab");
  CHECK_EQ(run(vocabulary, join({run_of(" x\xFF"), {2}}), {}).text, r + r + r + " ab");
  CHECK_EQ(run(vocabulary, join({run_of("\xFF"), {2}}), {}).text, r + " ab");
  const Vocab t5 = make(VocabularyKind::metaspace,
                        {{"</s>", TokenKind::special}, {" ", TokenKind::plain}, {" a b", TokenKind::plain}});
  CHECK_EQ(run(t5, {0, 1, 2}, {}).text, " a b");
  CHECK_EQ(run(t5, {2, 0, 2}, {}).text, "ab a b");
}

TEST("ids without a token and special ids have no text") {
  CHECK_EQ(run(fallback(), {1, 0, -1, 100000, 2147483647, 2}, {}).text, "ab ab");
}

// ---- vocabulary --------------------------------------------------------------------------------------------------

TEST("a vocabulary whose parts do not fit is refused") {
  const auto build = [](VocabularyKind kind, const std::string& bytes, std::vector<std::uint32_t> offsets,
                        std::vector<std::uint8_t> kinds) {
    return Vocabulary(kind, bytes, std::move(offsets), std::move(kinds)).size();
  };
  constexpr auto kLevel = VocabularyKind::byte_level, kFallback = VocabularyKind::byte_fallback;
  CHECK_EQ(build(kLevel, "", {0}, {}), 0u);
  CHECK_EQ(build(kLevel, "\xFF" "b", {0, 1, 2}, {0, 1}), 2u);
  CHECK_THROWS_CODE(build(kLevel, "", {}, {}), ErrorCode::invalid_option);
  CHECK_THROWS_CODE(build(kLevel, "ab", {0, 1}, {0, 0}), ErrorCode::invalid_option);
  CHECK_THROWS_CODE(build(kLevel, "ab", {0, 1, 3}, {0, 0}), ErrorCode::invalid_option);
  CHECK_THROWS_CODE(build(kLevel, "ab", {1, 1, 2}, {0, 0}), ErrorCode::invalid_option);
  CHECK_THROWS_CODE(build(kLevel, "ab", {0, 4000000000u, 2}, {0, 0}), ErrorCode::invalid_option);
  CHECK_THROWS_CODE(build(kLevel, "ab", {0, 1, 2}, {0, 3}), ErrorCode::invalid_option);
  CHECK_THROWS_CODE(build(kLevel, "ab", {0, 1, 2}, {0, 2}), ErrorCode::invalid_option);
  CHECK_THROWS_CODE(build(kFallback, "ab", {0, 0, 2}, {2, 0}), ErrorCode::invalid_option);
  CHECK_THROWS_CODE(build(kFallback, "ab", {0, 0, 2}, {0, 2}), ErrorCode::invalid_option);
  CHECK_THROWS_CODE(build(kFallback, "\xC3", {0, 1}, {0}), ErrorCode::invalid_option);
}

}  // namespace
}  // namespace splitwiser
