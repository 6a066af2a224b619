// UTF-8 byte by byte. The rules for what may follow a lead byte are those of the Unicode standard, table 3-7
// (no surrogates, no overlong forms, nothing above U+10FFFF), so that a broken sequence ends exactly where
// Rust's String::from_utf8_lossy ends it: one U+FFFD for each maximal part that could have become a character.
#pragma once

#include <cstdint>
#include <string_view>

namespace splitwiser {

inline constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

enum class Utf8Step : std::uint8_t {
  more,      // the byte was taken, the character is incomplete
  complete,  // the byte was taken, bytes() is a character
  broken,    // the byte was not taken: it can't follow what is there (or begin a character, if nothing is)
};

class Utf8Sequence {
 public:
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] std::string_view bytes() const { return {bytes_, size_}; }
  void clear() { size_ = 0; }

  // After `complete` clear() comes before the next add().
  Utf8Step add(std::uint8_t byte) {
    if (size_ == 0 && !begin(byte)) return Utf8Step::broken;
    if (size_ > 0 && (byte < low_ || byte > high_)) return Utf8Step::broken;
    if (size_ > 0) low_ = 0x80, high_ = 0xBF;
    bytes_[size_++] = static_cast<char>(byte);
    return size_ == length_ ? Utf8Step::complete : Utf8Step::more;
  }

 private:
  bool begin(std::uint8_t lead) {
    low_ = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    high_ = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    length_ = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
    return length_ > 0;
  }

  char bytes_[4] = {};
  std::uint8_t size_ = 0;
  std::uint8_t length_ = 0;
  std::uint8_t low_ = 0x80, high_ = 0xBF;  // of the next byte
};

[[nodiscard]] inline bool is_utf8(std::string_view text) {
  Utf8Sequence sequence;
  for (const char byte : text) {
    const Utf8Step step = sequence.add(static_cast<std::uint8_t>(byte));
    if (step == Utf8Step::broken) return false;
    if (step == Utf8Step::complete) sequence.clear();
  }
  return sequence.empty();
}

}  // namespace splitwiser
