// The last events of both lanes, in a ring: what ran where, from when to when.
#pragma once

#include <algorithm>
#include <vector>

#include "engine/types.hpp"

namespace splitwiser {

class Timeline {
 public:
  static constexpr std::size_t kCapacity = 16384;

  void add(TimelineEvent event) {
    if (events_.size() < kCapacity) {
      events_.push_back(std::move(event));
    } else {
      events_[next_] = std::move(event);
    }
    next_ = (next_ + 1) % kCapacity;
  }

  // The last `limit` events, in the order in which they ended.
  [[nodiscard]] std::vector<TimelineEvent> last(std::size_t limit) const {
    const std::size_t count = std::min(limit, events_.size());
    std::vector<TimelineEvent> out;
    out.reserve(count);
    for (std::size_t i = 0; i < count; i++) {
      out.push_back(events_[(next_ + kCapacity - count + i) % kCapacity]);
    }
    return out;
  }

 private:
  std::vector<TimelineEvent> events_;
  std::size_t next_ = 0;
};

}  // namespace splitwiser
