#include "simt/check/order.hpp"

#include <algorithm>

namespace simt {

bool Clock::covers(std::uint32_t chain, std::uint32_t step) const {
  const auto at = std::ranges::lower_bound(steps_, chain, {}, &std::pair<std::uint32_t, std::uint32_t>::first);
  return at != steps_.end() && at->first == chain && at->second >= step;
}

void Clock::add(std::uint32_t chain, std::uint32_t step) {
  const auto at = std::ranges::lower_bound(steps_, chain, {}, &std::pair<std::uint32_t, std::uint32_t>::first);
  if (at == steps_.end() || at->first != chain) steps_.insert(at, {chain, step});
  else at->second = std::max(at->second, step);
}

void Clock::join(const Clock& other) {
  for (const auto& [chain, step] : other.steps_) add(chain, step);
}

void OrderBook::join(Clock& clock, std::span<const Token> after) const {
  for (const Token token : after) {
    if (const auto found = entries_.find(token); found != entries_.end()) clock.join(*found->second.clock);
  }
}

void OrderBook::enter(Token token, std::uint64_t chain, std::span<const Token> after) {
  const std::lock_guard lock(mutex_);
  Chain& of = chains_[chain];
  if (of.id == 0) of.id = static_cast<std::uint32_t>(chains_.size());
  auto clock = std::make_shared<Clock>();
  if (of.clock != nullptr) clock->join(*of.clock);
  join(*clock, after);
  ++of.steps;
  clock->add(of.id, of.steps);
  of.clock = clock;
  entries_[token] = {of.id, of.steps, std::move(clock)};
}

Clock OrderBook::before(std::span<const Token> after) const {
  const std::lock_guard lock(mutex_);
  Clock clock;
  join(clock, after);
  return clock;
}

std::shared_ptr<const Clock> OrderBook::clock_of(Token token) const {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(token);
  return found == entries_.end() ? std::make_shared<const Clock>() : found->second.clock;
}

bool OrderBook::covers(const Clock& clock, Token token) const {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(token);
  return found == entries_.end() || clock.covers(found->second.chain, found->second.step);
}

}  // namespace simt
