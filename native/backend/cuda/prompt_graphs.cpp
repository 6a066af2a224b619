#include "backend/cuda/prompt_graphs.hpp"

#include <algorithm>
#include <utility>

#include "backend/cuda/lane_core.hpp"

namespace splitwiser::cuda {
namespace {

// A group is about a millisecond: with fewer launches in it, they are long, and what a graph would save is little.
constexpr std::size_t kLeastLaunches = 12;
// Sizes of prompts x places.
constexpr std::size_t kMostGroups = 48;

}  // namespace

void PromptGraphs::clear() {
  for (const Group& group : groups_) {
    if (group.exec != nullptr) lane_.driver().GraphExecDestroy(group.exec);
  }
  groups_.clear();
}

void PromptGraphs::issue(LaunchList launches) {
  const auto one_by_one = [&](const LaunchList& list) {
    list.each([&](const LaunchPlan& plan, const void* params, std::size_t bytes) { lane_.launch_now(plan, params, bytes); });
  };
  if (launches.size() < kLeastLaunches) return one_by_one(launches);
  const LanePlace& place = lane_.place();
  const auto found = std::ranges::find_if(groups_, [&](const Group& group) {
    return group.stream == place.stream.get() && group.quota_sms == place.quota_sms && group.launches == launches;
  });
  if (found == groups_.end()) {
    if (groups_.size() == kMostGroups) {
      // Its last launch may be under way.
      if (groups_.back().exec != nullptr) {
        lane_.stream().synchronize();
        lane_.driver().GraphExecDestroy(groups_.back().exec);
      }
      groups_.pop_back();
    }
    groups_.push_front({place.stream.get(), place.quota_sms, std::move(launches), nullptr});
    return one_by_one(groups_.front().launches);
  }
  groups_.splice(groups_.begin(), groups_, found);
  Group& group = groups_.front();
  if (group.exec == nullptr) {
    try {
      group.exec = lane_.capture([&] { one_by_one(group.launches); });
    } catch (const Error&) {
      // No memory for a graph, say. The work does not need one.
      lane_.device().require_alive();
      return one_by_one(group.launches);
    }
  }
  lane_.device().check(lane_.driver().GraphLaunch(group.exec, lane_.stream().handle()), "a layer group");
}

}  // namespace splitwiser::cuda
