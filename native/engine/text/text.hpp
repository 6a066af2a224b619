// The face of text/: the text of one choice as it grows, cut at its stop strings.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "engine/text/stop_matcher.hpp"
#include "engine/text/stream_decoder.hpp"
#include "engine/text/vocabulary.hpp"

namespace splitwiser {

struct TextStep {
  std::string text;       // to be sent: whole characters, before any stop string
  bool stopped = false;   // a stop string is complete; it is not in any text
  int stop_index = -1;    // which
};

// A stop string hits at the token with which the text decoded so far first contains it, even if part of that text is
// still provisional. The texts of all steps join to the decoded text up to the stop string, if one hit.
class TextStream {
 public:
  // `vocabulary` is not null. Throws invalid_option for an empty stop string.
  TextStream(std::shared_ptr<const Vocabulary> vocabulary, std::span<const std::string> stops);

  // With `stops_count` false (minTokens not reached) a stop string that this token completes is plain text. One that
  // only begins in such text and is completed later hits. After a hit, steps repeat it without text.
  TextStep push(std::int32_t token, bool stops_count = true);
  // No token follows: sends what was held back. May be called again, and gives no text then.
  TextStep finish(bool stops_count = true);

  // Held back at the moment: at most the longest stop string, and a run of byte tokens.
  [[nodiscard]] std::size_t pending_bytes() const { return pending_.size(); }
  // Steps of the search for stop strings: its cost, for tests.
  [[nodiscard]] std::uint64_t search_steps() const { return matcher_.steps(); }

 private:
  // Searches pending_ from `from` on; true at a hit, which is in `step` then.
  bool search(std::size_t from, std::size_t taken_back, bool stops_count, TextStep& step);
  TextStep send(std::size_t bytes);

  StreamDecoder decoder_;
  StopMatcher matcher_;
  StopMatcher::State settled_ = 0;  // before the provisional text
  std::string pending_;
  int stopped_by_ = -1;
};

}  // namespace splitwiser
