// What the tests of native/engine/text/ share: small vocabularies, and one stream run to its end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "check.hpp"
#include "engine/text/text.hpp"

namespace splitwiser::text_test {

using Vocab = std::shared_ptr<const Vocabulary>;
using Tokens = std::vector<std::int32_t>;
using Stops = std::vector<std::string>;

inline Vocab make(VocabularyKind kind, const std::vector<std::pair<std::string, TokenKind>>& tokens) {
  std::string bytes;
  std::vector<std::uint32_t> offsets{0};
  std::vector<std::uint8_t> kinds;
  for (const auto& [text, token_kind] : tokens) {
    bytes += text;
    offsets.push_back(std::uint32_t(bytes.size()));
    kinds.push_back(std::uint8_t(token_kind));
  }
  return std::make_shared<const Vocabulary>(kind, bytes, offsets, kinds);
}

// Byte-level with one token for each byte.
inline Vocab bytewise() {
  std::vector<std::pair<std::string, TokenKind>> tokens;
  for (int byte = 0; byte < 256; byte++) tokens.emplace_back(std::string(1, char(byte)), TokenKind::plain);
  return make(VocabularyKind::byte_level, tokens);
}

inline Tokens bytes_of(std::string_view text) {
  Tokens ids;
  for (const char c : text) ids.push_back(std::uint8_t(c));
  return ids;
}

inline std::string decode(const Vocab& vocabulary, const Tokens& ids) {
  StreamDecoder decoder(vocabulary);
  std::string text;
  for (const std::int32_t id : ids) decoder.push(id, text);
  decoder.flush(text);
  return text;
}

struct Run {
  std::vector<std::string> pieces;  // one a token, then what finish() gave
  std::string text;
  int stop = -1;
  std::size_t stopped_at = 0;       // tokens pushed
};

inline Run run(const Vocab& vocabulary, const Tokens& ids, const Stops& stops, std::size_t min_tokens = 0) {
  TextStream stream(vocabulary, stops);
  Run result;
  for (std::size_t i = 0; i < ids.size() && result.stop < 0; i++) {
    const TextStep step = stream.push(ids[i], i + 1 >= min_tokens);
    result.pieces.push_back(step.text);
    result.stop = step.stop_index;
    result.stopped_at = i + 1;
    CHECK_EQ(step.stopped, step.stop_index >= 0);
  }
  result.pieces.push_back(stream.finish().text);
  for (const std::string& piece : result.pieces) result.text += piece;
  return result;
}

// Ids: 0 = special, 1 = "ab", 2 = " ab", 3 = "  ", 4 = "", then 5 + byte.
inline Vocab fallback() {
  std::vector<std::pair<std::string, TokenKind>> tokens = {{"<s>", TokenKind::special}};
  for (const char* text : {"ab", " ab", "  ", ""}) tokens.emplace_back(text, TokenKind::plain);
  for (int byte = 0; byte < 256; byte++) tokens.emplace_back(std::string(1, char(byte)), TokenKind::byte);
  return make(VocabularyKind::byte_fallback, tokens);
}

inline Tokens run_of(std::string_view bytes) {
  Tokens ids = bytes_of(bytes);
  for (std::int32_t& id : ids) id += 5;
  return ids;
}

inline Tokens join(std::initializer_list<Tokens> parts) {
  Tokens all;
  for (const Tokens& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

}  // namespace splitwiser::text_test
