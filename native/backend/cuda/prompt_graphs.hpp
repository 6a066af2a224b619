// Layer groups of prompts as graphs. A small model's prompt is many short kernels, and launching one may take as long as
// running it. A group whose launches are those of one before becomes a graph: one launch. Steps of prompts come in few
// sizes (ops.cpp rounds their rows up), and their arrays lie at the same place each time, so that groups do come again.
#pragma once

#include <cstdint>
#include <list>

#include "backend/cuda/device.hpp"
#include "backend/cuda/launch_list.hpp"

namespace splitwiser::cuda {

class LaneCore;

class PromptGraphs {
 public:
  explicit PromptGraphs(LaneCore& lane) : lane_(lane) {}
  ~PromptGraphs() { clear(); }
  PromptGraphs(const PromptGraphs&) = delete;
  PromptGraphs& operator=(const PromptGraphs&) = delete;

  // At the lane's place: kernel by kernel the first time, as a graph from the second time on.
  void issue(LaunchList launches);
  // No work of the lane is under way.
  void clear();

 private:
  struct Group {
    const Stream* stream;
    int quota_sms;
    LaunchList launches;
    CUgraphExec exec;  // null: seen once
  };

  LaneCore& lane_;
  std::list<Group> groups_;  // the last used first
};

}  // namespace splitwiser::cuda
