#include "engine/text/vocabulary.hpp"

#include <utility>

#include "engine/text/utf8.hpp"
#include "support/error.hpp"

namespace splitwiser {
namespace {

[[noreturn]] void refuse(const std::string& message) {
  throw Error(ErrorCode::invalid_option, "vocabulary: " + message + ". Reload the model from an intact tokenizer.json.");
}

}  // namespace

Vocabulary::Vocabulary(VocabularyKind kind, std::string bytes, std::vector<std::uint32_t> offsets,
                       std::vector<std::uint8_t> kinds)
    : kind_(kind), bytes_(std::move(bytes)), offsets_(std::move(offsets)), kinds_(std::move(kinds)) {
  check();
}

void Vocabulary::check() const {
  if (offsets_.size() != kinds_.size() + 1) {
    refuse("expected " + std::to_string(kinds_.size() + 1) + " offsets for " + std::to_string(kinds_.size()) +
           " tokens, got " + std::to_string(offsets_.size()));
  }
  if (offsets_.front() != 0 || offsets_.back() != bytes_.size()) {
    refuse("expected offsets from 0 to " + std::to_string(bytes_.size()) + ", got " + std::to_string(offsets_.front()) +
           " to " + std::to_string(offsets_.back()));
  }
  for (std::size_t t = 0; t < kinds_.size(); t++) {
    if (offsets_[t] > offsets_[t + 1]) {
      refuse("expected ascending offsets, but they go back after token " + std::to_string(t));
    }
  }
  // Only now are all offsets inside the bytes.
  for (std::size_t t = 0; t < kinds_.size(); t++) {
    const auto which = [t] { return "token " + std::to_string(t); };
    if (kinds_[t] > 2) refuse("expected kinds 0, 1 and 2, but " + which() + " has " + std::to_string(kinds_[t]));
    const auto token = static_cast<std::int32_t>(t);
    if (kind_of(token) == TokenKind::byte) {
      if (kind_ != VocabularyKind::byte_fallback) refuse(which() + " is a byte token in a vocabulary without byte fallback");
      if (bytes_of(token).size() != 1) {
        refuse("expected one byte for byte " + which() + ", got " + std::to_string(bytes_of(token).size()));
      }
    } else if (kind_of(token) == TokenKind::plain && kind_ != VocabularyKind::byte_level && !is_utf8(bytes_of(token))) {
      refuse(which() + " is not valid UTF-8");
    }
  }
}

}  // namespace splitwiser
