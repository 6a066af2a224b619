// Each token's bytes and the rule by which they become text. lib/tokenizer/vocabulary.ts makes it from
// tokenizer.json; text is then what the `tokenizers` package gives for decode(ids, skip special tokens).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace splitwiser {

// What is expected of the bytes of a token, and what is done with them:
//
// byte_level    (decoder ByteLevel; GPT-2, OPT.) A token's bytes are its characters put through GPT-2's
//               character-to-byte table backwards; a token with a character outside the table (an added token) is
//               its own UTF-8. All bytes are joined and decoded; what is invalid becomes U+FFFD, one for each
//               maximal part of a character.
// byte_fallback (decoders Replace "\u2581" by " ", ByteFallback, Fuse, Strip one " " on the left; Llama.) Kind `byte`:
//               a token written <0xAB> (6 characters), whose bytes are that one byte. Other tokens: UTF-8 with U+2581
//               replaced by a blank. A run of byte tokens, up to the next other token, is taken whole: valid UTF-8, or
//               one U+FFFD for each of its bytes. One blank at the very beginning of the text is dropped.
// metaspace     (decoder Metaspace with a prepended blank; T5.) UTF-8 with U+2581 replaced by a blank. Blanks of the
//               first token that is not special are dropped.
enum class VocabularyKind : std::uint8_t { byte_level, byte_fallback, metaspace };

enum class TokenKind : std::uint8_t {
  plain = 0,
  special = 1,  // no text; the other tokens do not notice it
  byte = 2,     // one byte of a character; in byte_fallback only
};

// Immutable, shared by all choices of all requests.
class Vocabulary {
 public:
  // Token t has bytes[offsets[t] .. offsets[t + 1]); offsets has one entry more than kinds (TokenKind as a number).
  // Throws invalid_option if these do not fit each other, or if a token's bytes are not what its kind expects.
  Vocabulary(VocabularyKind kind, std::string bytes, std::vector<std::uint32_t> offsets, std::vector<std::uint8_t> kinds);

  [[nodiscard]] VocabularyKind kind() const { return kind_; }
  [[nodiscard]] std::size_t size() const { return kinds_.size(); }

  // A model may have more ids than its tokenizer has tokens: they are special, without bytes.
  [[nodiscard]] TokenKind kind_of(std::int32_t token) const {
    return has(token) ? static_cast<TokenKind>(kinds_[static_cast<std::size_t>(token)]) : TokenKind::special;
  }
  [[nodiscard]] std::string_view bytes_of(std::int32_t token) const {
    if (!has(token)) return {};
    const auto t = static_cast<std::size_t>(token);
    return std::string_view(bytes_).substr(offsets_[t], offsets_[t + 1] - offsets_[t]);
  }

 private:
  [[nodiscard]] bool has(std::int32_t token) const {
    return token >= 0 && static_cast<std::size_t>(token) < kinds_.size();
  }
  void check() const;

  VocabularyKind kind_;
  std::string bytes_;
  std::vector<std::uint32_t> offsets_;
  std::vector<std::uint8_t> kinds_;
};

}  // namespace splitwiser
