#include "backend/cpu/turnstile.hpp"

#include <algorithm>

#include "platform/clock.hpp"

namespace splitwiser::cpu {

void Turnstile::set_shares(double prefill, double decode) {
  const std::lock_guard lock(mutex_);
  lanes_[0].share = prefill;
  lanes_[1].share = decode;
  lanes_[0].used = lanes_[1].used = 0;
}

void Turnstile::account() {
  const std::int64_t now = monotonic_ns();
  LaneState& lane = lanes_[std::size_t(inside_)];
  lane.used += double(now - since_) / lane.share;
  since_ = now;
}

void Turnstile::wait_for_turn(std::unique_lock<std::mutex>& lock, int lane) {
  LaneState& state = lanes_[std::size_t(lane)];
  state.waiting = true;
  changed_.wait(lock, [&] { return inside_ == kNobody || inside_ == lane; });
  state.waiting = false;
  inside_ = lane;
  since_ = monotonic_ns();
}

void Turnstile::enter(Phase phase) {
  const int lane = int(phase);
  std::unique_lock lock(mutex_);
  // A lane that was away has saved up nothing: it begins where the other is, else it would keep the
  // other out until it had caught up.
  const double other = lanes_[std::size_t(1 - lane)].used;
  lanes_[std::size_t(lane)].used = std::max(lanes_[std::size_t(lane)].used, other);
  wait_for_turn(lock, lane);
}

void Turnstile::yield(Phase phase) {
  const int lane = int(phase);
  std::unique_lock lock(mutex_);
  if (inside_ != lane) return;
  account();
  const LaneState& other = lanes_[std::size_t(1 - lane)];
  if (!other.waiting || other.used > lanes_[std::size_t(lane)].used) return;
  inside_ = 1 - lane;
  changed_.notify_all();
  wait_for_turn(lock, lane);
}

void Turnstile::leave(Phase phase) {
  const int lane = int(phase);
  const std::lock_guard lock(mutex_);
  if (inside_ != lane) return;
  account();
  // A waiting lane gets its turn even if this one comes back at once.
  inside_ = lanes_[std::size_t(1 - lane)].waiting ? 1 - lane : kNobody;
  changed_.notify_all();
}

}  // namespace splitwiser::cpu
