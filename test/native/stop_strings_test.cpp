// Stop strings over small vocabularies; text_test.cpp has them over the kept reference streams.
#include <algorithm>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "check.hpp"
#include "engine/text/text.hpp"
#include "text_support.hpp"

namespace splitwiser {
namespace {

using namespace text_test;

TEST("a stop string is found across tokens, is not sent, and what could begin one is held back") {
  const Run result = run(bytewise(), bytes_of("one\n\nUser: x"), {"\n\nUser:"});
  CHECK_EQ(result.text, "one");
  CHECK_EQ(result.stopped_at, 10u);
  const Run missed = run(bytewise(), bytes_of("a\n\nUsed"), {"\n\nUser:"});
  CHECK_EQ(missed.pieces, (std::vector<std::string>{"a", "", "", "", "", "", "\n\nUsed", ""}));
  const Run ended = run(bytewise(), bytes_of("a\n\nUs"), {"\n\nUser:"});
  CHECK_EQ(ended.pieces.back(), "\n\nUs");
  CHECK_EQ(ended.stop, -1);
}

TEST("of several stop strings the one that ends first hits, the longest of those that end together") {
  const Vocab whole = make(VocabularyKind::byte_level, {{"xabcd", TokenKind::plain}});
  for (const Vocab& vocabulary : {whole, bytewise()}) {
    const Tokens ids = vocabulary == whole ? Tokens{0} : bytes_of("xabcd");
    const auto outcome = [&](const Stops& stops) {
      const Run result = run(vocabulary, ids, stops);
      return std::to_string(result.stop) + result.text;
    };
    CHECK_EQ(outcome({"abcd", "bc"}), "1xa");
    CHECK_EQ(outcome({"bcd", "abcd", "d"}), "1x");
    CHECK_EQ(outcome({"abce", "bcd"}), "1xa");
    CHECK_EQ(outcome({"c", "c"}), "0xab");
    CHECK_EQ(outcome({"xabcd"}), "0");
    CHECK_EQ(outcome({"xabcde", "e"}), "-1xabcd");
  }
}

TEST("a stop string at the first token ends with no text; further steps repeat the stop") {
  TextStream stream(bytewise(), Stops{"\n"});
  CHECK(stream.push('\n').stopped);
  const TextStep after = stream.push('a');
  CHECK(after.stopped);
  CHECK_EQ(after.text, "");
  CHECK_EQ(stream.finish().stop_index, 0);
}

TEST("a stop string may begin in text that is held back for another") {
  const Run result = run(bytewise(), bytes_of("aaab--"), {"aaac", "ab-"});
  CHECK_EQ(result.text, "aa");
  CHECK_EQ(result.stop, 1);
}

TEST("stop strings before minTokens are text; one that begins there and ends later hits") {
  CHECK_EQ(run(bytewise(), bytes_of("ab.cd.ef"), {"."}, 4).text, "ab.cd");
  CHECK_EQ(run(bytewise(), bytes_of("ab.cd.ef"), {"."}, 3).text, "ab");
  CHECK_EQ(run(bytewise(), bytes_of("xENDEND"), {"END"}, 5).text, "xEND");
  CHECK_EQ(run(bytewise(), bytes_of("xENDING"), {"END", "ENDING"}, 5).text, "x");
  // What was passed over and can't grow into a stop string is sent at once.
  CHECK_EQ(run(bytewise(), bytes_of("a.b"), {"."}, 9).pieces, (std::vector<std::string>{"a", ".", "b", ""}));
}

TEST("stop strings hit in a run of byte tokens at their step, and are forgotten if the run turns out invalid") {
  const std::string r(kReplacement);
  const Vocab vocabulary = fallback();
  const Run hit = run(vocabulary, join({{1}, run_of("x\xC3\xA9yz")}), {"\xC3\xA9y"});
  CHECK_EQ(hit.text, "abx");
  CHECK_EQ(hit.stopped_at, 5u);
  const Stops stops = {"bxyab", "b" + r};
  CHECK_EQ(run(vocabulary, join({{1}, run_of("xy"), {1}}), stops).text, "a");
  const Run turned = run(vocabulary, join({{1}, run_of("xy\xFF"), {1}}), stops);
  CHECK_EQ(turned.text, "a");
  CHECK_EQ(turned.stop, 1);
  // "b" is held for what the run may turn into, though "bx" begins no stop string.
  CHECK_EQ(run(vocabulary, join({{1}, run_of("xy\xFF"), {1}}), Stops{"b" + r}).text, "a");
  CHECK_EQ(run(vocabulary, join({{1}, run_of("xy\xFF"), {1}}), Stops{"bxyab"}).text, "ab" + r + r + r + "ab");
}

TEST("an empty list stops nothing; an empty stop string is refused") {
  CHECK_EQ(run(bytewise(), bytes_of("all of it"), {}).text, "all of it");
  CHECK_THROWS_CODE(TextStream(bytewise(), Stops{"a", ""}), ErrorCode::invalid_option);
}

// Every answer against a search of the whole text, over a small alphabet so that beginnings overlap.
TEST("stop search agrees with a plain search on 20,000 random streams") {
  std::mt19937 random(1);
  const auto word = [&](std::size_t longest) {
    std::string made;
    for (std::size_t n = 1 + random() % longest; n > 0; n--) made += random() % 2 == 0 ? 'a' : 'b';
    return made;
  };
  int wrong = 0;
  for (int n = 0; n < 20000; n++) {
    std::vector<std::pair<std::string, TokenKind>> tokens;
    for (int i = 0; i < 5; i++) tokens.emplace_back(word(4), TokenKind::plain);
    Stops stops;
    for (auto i = random() % 4; i > 0; i--) stops.push_back(word(7));
    const Vocab vocabulary = make(VocabularyKind::byte_level, tokens);
    const std::size_t min_tokens = random() % 4;
    TextStream stream(vocabulary, stops);
    std::string text, sent;
    for (std::size_t i = 1; i <= 12; i++) {
      const auto token = std::int32_t(random() % 5);
      const std::size_t known = text.size();
      text += tokens[std::size_t(token)].first;
      std::size_t end = std::string::npos, length = 0;
      for (std::size_t at = known + 1; i >= min_tokens && at <= text.size() && end == std::string::npos; at++) {
        for (const std::string& stop : stops) {
          if (stop.size() > length && std::string_view(text).substr(0, at).ends_with(stop)) end = at, length = stop.size();
        }
      }
      std::size_t held = 0;
      for (const std::string& stop : stops) {
        for (std::size_t size = 1; size < stop.size(); size++) {
          if (text.ends_with(stop.substr(0, size))) held = std::max(held, size);
        }
      }
      const TextStep step = stream.push(token, i >= min_tokens);
      sent += step.text;
      if (step.stopped != (end != std::string::npos)) wrong++;
      if (step.stopped) {
        if (sent != text.substr(0, end - length) || stops[std::size_t(step.stop_index)].size() != length) wrong++;
        break;
      }
      if (sent != text.substr(0, text.size() - held)) wrong++;
    }
  }
  CHECK_EQ(wrong, 0);
}

TEST("the cost of 100,000 tokens is linear, on the worst text for the stop strings too") {
  const Stops stops = {std::string(60, 'a') + "b", std::string(30, 'a') + "c", "aab"};
  for (const std::string& unit : {std::string("a"), std::string(59, 'a') + "x", std::string("\xF0\x9F\x98\x80")}) {
    TextStream stream(bytewise(), stops);
    std::size_t sent = 0, most = 0;
    for (std::size_t i = 0; i < 100000; i++) {
      sent += stream.push(std::uint8_t(unit[i % unit.size()])).text.size();
      most = std::max(most, stream.pending_bytes());
    }
    CHECK(most <= 60);
    CHECK_EQ(sent + stream.finish().text.size(), 100000u);
    CHECK(stream.search_steps() <= 8 * 100000u);
  }
}

TEST("a run of 100,000 byte tokens is searched once, and once more when it turns out invalid") {
  TextStream stream(fallback(), Stops{"ab", "bc"});
  std::size_t sent = 0;
  for (int i = 0; i < 100000; i++) sent += stream.push(5 + 'a').text.size();
  CHECK_EQ(sent, 0u);
  sent += stream.push(5 + 0xFF).text.size();
  sent += stream.push(1, false).text.size();
  sent += stream.finish().text.size();
  CHECK_EQ(sent, 3u * 100001 + 2);
  CHECK(stream.search_steps() <= 6 * 400000u);
}

}  // namespace
}  // namespace splitwiser
