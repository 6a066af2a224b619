#include "engine/text/stop_matcher.hpp"

#include "support/error.hpp"

namespace splitwiser {

StopMatcher::StopMatcher(std::span<const std::string> stops) {
  for (std::size_t i = 0; i < stops.size(); i++) {
    if (stops[i].empty()) {
      throw Error(ErrorCode::invalid_option, "stop: expected strings of at least one character, but number " +
                                                 std::to_string(i) + " is empty. Leave it out.");
    }
    insert(stops[i], static_cast<std::int32_t>(i));
    lengths_.push_back(stops[i].size());
  }
  link();
  steps_ = 0;
}

StopHit StopMatcher::feed(std::string_view piece, bool counts) {
  if (nodes_.size() == 1) return {};
  for (std::size_t i = 0; i < piece.size(); i++) {
    state_ = next(state_, static_cast<std::uint8_t>(piece[i]));
    if (node(state_).stop == kNone) continue;
    if (counts) {
      const std::int32_t stop = node(state_).stop;
      return {stop, i + 1, lengths_[static_cast<std::size_t>(stop)]};
    }
    // A whole stop string that begins no longer one need not be held.
    while (state_ != 0 && node(state_).first_child == kNone) state_ = node(state_).fallback;
  }
  return {};
}

StopMatcher::State StopMatcher::child(State state, std::uint8_t byte) {
  State found = node(state).first_child;
  while (found != kNone) {
    steps_++;
    if (node(found).byte == byte) break;
    found = node(found).next_sibling;
  }
  return found;
}

StopMatcher::State StopMatcher::next(State state, std::uint8_t byte) {
  for (;;) {
    steps_++;
    const State found = child(state, byte);
    if (found != kNone) return found;
    if (state == 0) return 0;
    state = node(state).fallback;
  }
}

void StopMatcher::insert(std::string_view stop, std::int32_t index) {
  State at = 0;
  for (const char c : stop) {
    const auto byte = static_cast<std::uint8_t>(c);
    State found = child(at, byte);
    if (found == kNone) {
      found = static_cast<State>(nodes_.size());
      Node added;
      added.byte = byte;
      added.depth = node(at).depth + 1;
      added.next_sibling = node(at).first_child;
      nodes_.push_back(added);
      node(at).first_child = found;
    }
    at = found;
  }
  if (node(at).stop == kNone) node(at).stop = index;  // of equal stop strings the first
}

// Breadth first: a node's fallback is shorter than the node, hence linked before it.
void StopMatcher::link() {
  std::vector<State> order{0};
  for (std::size_t i = 0; i < order.size(); i++) {
    const State parent = order[i];
    for (State at = node(parent).first_child; at != kNone; at = node(at).next_sibling) {
      order.push_back(at);
      if (parent != 0) node(at).fallback = next(node(parent).fallback, node(at).byte);
      if (node(at).stop == kNone) node(at).stop = node(node(at).fallback).stop;
    }
  }
}

}  // namespace splitwiser
