// Lets two lanes that share the same cores take turns, in proportion to their shares.
#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "backend/backend.hpp"

namespace splitwiser::cpu {

class Turnstile {
 public:
  // Shares of the time, each > 0. Only while nobody is inside.
  void set_shares(double prefill, double decode);
  // Waits for the other lane to leave or to hand over.
  void enter(Phase phase);
  // Hands over and waits when the other lane is waiting and has had less than its share.
  void yield(Phase phase);
  void leave(Phase phase);

 private:
  struct LaneState {
    bool waiting = false;
    double share = 0.5;
    double used = 0;  // nanoseconds inside, divided by share
  };
  static constexpr int kNobody = -1;

  void account();
  void wait_for_turn(std::unique_lock<std::mutex>& lock, int lane);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::array<LaneState, kPhases> lanes_;
  int inside_ = kNobody;
  std::int64_t since_ = 0;  // when `inside_` entered or was last accounted
};

}  // namespace splitwiser::cpu
