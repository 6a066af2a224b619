// What happened before what, among grids, copies and host accesses: vector clocks over chains (streams, host threads).
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "simt/machine.hpp"

namespace simt {

class Clock {
 public:
  [[nodiscard]] bool covers(std::uint32_t chain, std::uint32_t step) const;
  void add(std::uint32_t chain, std::uint32_t step);
  void join(const Clock& other);

 private:
  std::vector<std::pair<std::uint32_t, std::uint32_t>> steps_;  // by chain; everything up to that step
};

class OrderBook {
 public:
  // Something of a chain: after the chain's last, and after these.
  void enter(Token token, std::uint64_t chain, std::span<const Token> after);
  // Nothing of a chain: what all of these have before them, themselves included.
  [[nodiscard]] Clock before(std::span<const Token> after) const;
  [[nodiscard]] std::shared_ptr<const Clock> clock_of(Token token) const;  // itself included
  [[nodiscard]] bool covers(const Clock& clock, Token token) const;

 private:
  struct Entry {
    std::uint32_t chain, step;
    std::shared_ptr<const Clock> clock;
  };
  void join(Clock& clock, std::span<const Token> after) const;

  mutable std::mutex mutex_;
  std::unordered_map<Token, Entry> entries_;
  struct Chain {
    std::uint32_t id = 0, steps = 0;
    std::shared_ptr<const Clock> clock;
  };
  std::unordered_map<std::uint64_t, Chain> chains_;
};

}  // namespace simt
