// Stop strings found in text that comes in pieces.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace splitwiser {

// The stop string that ends first, and of those that end at one byte the longest: which one hits does not depend on
// how the text is cut into pieces.
struct StopHit {
  int index = -1;           // in the list of stop strings; -1: no hit
  std::size_t end = 0;      // bytes of the piece up to the end of the stop string
  std::size_t length = 0;   // of the stop string: it may begin before the piece

  explicit operator bool() const { return index >= 0; }
};

// Aho-Corasick automaton (A. V. Aho, M. J. Corasick, "Efficient string matching: an aid to bibliographic search",
// CACM 18(6), 1975) over UTF-8 bytes, its children in lists: stop strings are few and short.
class StopMatcher {
 public:
  using State = std::int32_t;

  // Throws invalid_option for an empty stop string.
  explicit StopMatcher(std::span<const std::string> stops);

  // Reads on, up to and with the first hit. With `counts` false hits are passed over, and what they are made of may
  // still become part of a longer stop string.
  StopHit feed(std::string_view piece, bool counts = true);

  // The last held() bytes of all text so far may be the beginning of a stop string; everything before them may be sent.
  [[nodiscard]] std::size_t held() const { return held(state_); }
  [[nodiscard]] std::size_t held(State state) const { return nodes_[static_cast<std::size_t>(state)].depth; }

  // To come back to a place in the text.
  [[nodiscard]] State state() const { return state_; }
  void restore(State state) { state_ = state; }

  // Nodes looked at since construction: the cost, for tests.
  [[nodiscard]] std::uint64_t steps() const { return steps_; }

 private:
  // A node is a beginning of a stop string.
  struct Node {
    std::uint8_t byte = 0;          // its last
    std::uint32_t depth = 0;        // its length
    State first_child = kNone;
    State next_sibling = kNone;
    State fallback = 0;             // its longest proper suffix that is a node
    std::int32_t stop = kNone;      // the longest stop string that is a suffix of it
  };
  static constexpr State kNone = -1;

  [[nodiscard]] Node& node(State state) { return nodes_[static_cast<std::size_t>(state)]; }
  [[nodiscard]] State child(State state, std::uint8_t byte);
  [[nodiscard]] State next(State state, std::uint8_t byte);
  void insert(std::string_view stop, std::int32_t index);
  void link();

  std::vector<Node> nodes_{1};
  std::vector<std::size_t> lengths_;
  State state_ = 0;
  std::uint64_t steps_ = 0;
};

}  // namespace splitwiser
