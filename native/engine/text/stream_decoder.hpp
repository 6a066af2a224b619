// Text of a growing list of tokens, each token's cost bounded by its own bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "engine/text/utf8.hpp"
#include "engine/text/vocabulary.hpp"

namespace splitwiser {

// One per choice. Writes into the caller's buffer of text that was not sent yet.
//
// Characters are written when they are complete. In a byte_fallback vocabulary even a complete character is
// provisional while its run of byte tokens lasts: a later byte may make the whole run invalid, and then each of
// its bytes is U+FFFD. The last provisional() bytes of the buffer must not be sent, and must be left in place.
// With a buffer of which all but provisional() bytes is sent after each push, and all after flush, the pieces
// join to what the `tokenizers` package decodes from the whole list.
class StreamDecoder {
 public:
  explicit StreamDecoder(std::shared_ptr<const Vocabulary> vocabulary) : vocabulary_(std::move(vocabulary)) {}

  // Appends what the token completes. Returns how many bytes at the end of `pending` were taken back before.
  std::size_t push(std::int32_t token, std::string& pending);
  // The end of the list: what is incomplete becomes U+FFFD, nothing is provisional any more. Returns as push().
  std::size_t flush(std::string& pending);

  [[nodiscard]] std::size_t provisional() const { return provisional_; }

 private:
  void append_lossy(std::string_view bytes, std::string& pending);
  void append_first(std::string_view text, std::string& pending);
  std::size_t append_run_byte(std::uint8_t byte, std::string& pending);
  std::size_t break_run(std::string& pending);
  std::size_t end_run(std::string& pending);

  std::shared_ptr<const Vocabulary> vocabulary_;
  Utf8Sequence sequence_;         // the incomplete character
  bool at_start_ = true;          // no text yet, and no blank dropped
  std::size_t run_length_ = 0;    // byte tokens in the current run
  bool run_broken_ = false;       // it is invalid: every byte of it is U+FFFD
  std::size_t provisional_ = 0;
};

}  // namespace splitwiser
