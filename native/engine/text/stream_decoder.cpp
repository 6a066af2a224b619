#include "engine/text/stream_decoder.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace splitwiser {

std::size_t StreamDecoder::push(std::int32_t token, std::string& pending) {
  const TokenKind kind = vocabulary_->kind_of(token);
  if (kind == TokenKind::special) return 0;
  const std::string_view bytes = vocabulary_->bytes_of(token);
  switch (vocabulary_->kind()) {
    case VocabularyKind::byte_level:
      append_lossy(bytes, pending);
      return 0;
    case VocabularyKind::metaspace:
      // The first token loses all its blanks, and is the first even if nothing is left of it.
      if (std::exchange(at_start_, false)) {
        std::copy_if(bytes.begin(), bytes.end(), std::back_inserter(pending), [](char c) { return c != ' '; });
      } else {
        pending += bytes;
      }
      return 0;
    case VocabularyKind::byte_fallback:
      break;
  }
  if (kind == TokenKind::byte) return append_run_byte(static_cast<std::uint8_t>(bytes.front()), pending);
  const std::size_t taken_back = end_run(pending);
  append_first(bytes, pending);
  return taken_back;
}

std::size_t StreamDecoder::flush(std::string& pending) {
  if (vocabulary_->kind() == VocabularyKind::byte_fallback) return end_run(pending);
  if (!sequence_.empty()) pending += kReplacement;
  sequence_.clear();
  return 0;
}

void StreamDecoder::append_lossy(std::string_view bytes, std::string& pending) {
  for (const char c : bytes) {
    const auto byte = static_cast<std::uint8_t>(c);
    Utf8Step step = sequence_.add(byte);
    if (step == Utf8Step::broken && !sequence_.empty()) {
      pending += kReplacement;
      sequence_.clear();
      step = sequence_.add(byte);  // it may begin the next character
    }
    if (step == Utf8Step::broken) pending += kReplacement;
    if (step == Utf8Step::complete) {
      pending += sequence_.bytes();
      sequence_.clear();
    }
  }
}

// Drops one blank at the very beginning of the whole text.
void StreamDecoder::append_first(std::string_view text, std::string& pending) {
  if (text.empty()) return;
  if (std::exchange(at_start_, false) && text.front() == ' ') text.remove_prefix(1);
  pending += text;
}

std::size_t StreamDecoder::append_run_byte(std::uint8_t byte, std::string& pending) {
  run_length_++;
  if (run_broken_) {
    pending += kReplacement;
    return 0;
  }
  switch (sequence_.add(byte)) {
    case Utf8Step::more:
      return 0;
    case Utf8Step::broken:
      return break_run(pending);
    case Utf8Step::complete:
      break;
  }
  const std::size_t before = pending.size();
  append_first(sequence_.bytes(), pending);
  provisional_ += pending.size() - before;
  sequence_.clear();
  return 0;
}

std::size_t StreamDecoder::break_run(std::string& pending) {
  const std::size_t taken_back = std::min(std::exchange(provisional_, 0), pending.size());
  pending.resize(pending.size() - taken_back);
  for (std::size_t i = 0; i < run_length_; i++) pending += kReplacement;
  run_broken_ = true;
  at_start_ = false;
  sequence_.clear();
  return taken_back;
}

std::size_t StreamDecoder::end_run(std::string& pending) {
  const std::size_t taken_back = sequence_.empty() ? 0 : break_run(pending);
  run_length_ = 0;
  run_broken_ = false;
  provisional_ = 0;
  return taken_back;
}

}  // namespace splitwiser
