// Launches that were asked for and not issued yet: plans and parameters, to be compared with others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <cstdio>
#include <vector>

#include "launch.hpp"

namespace splitwiser::cuda {

class LaunchList {
 public:
  void add(const LaunchPlan& plan, const void* params, std::size_t bytes) {
    launches_.push_back({plan, params_.size(), bytes});
    const auto* from = static_cast<const std::byte*>(params);
    params_.insert(params_.end(), from, from + bytes);
  }
  void clear() {
    launches_.clear();
    params_.clear();
  }
  [[nodiscard]] bool empty() const { return launches_.empty(); }
  [[nodiscard]] std::size_t size() const { return launches_.size(); }

  // issue(plan, params, bytes)
  template <typename Issue>
  void each(const Issue& issue) const {
    for (const Launch& launch : launches_) issue(launch.plan, params_.data() + launch.at, launch.bytes);
  }

  // The same work: kernels, grids, parameters, the addresses in them included.
  [[nodiscard]] bool operator==(const LaunchList& other) const {
    return launches_ == other.launches_ && params_ == other.params_;
  }

  void explain(const LaunchList& other) const {
    for (std::size_t i = 0; i < launches_.size(); i++) {
      const auto& a = launches_[i]; const auto& b = other.launches_[i];
      std::fprintf(stderr, "%s %s grid %u %u bytes %zu %zu:", a.plan.kernel, b.plan.kernel, a.plan.grid, b.plan.grid, a.bytes, b.bytes);
      for (std::size_t k = 0; k < a.bytes && a.at + k < params_.size() && b.at + k < other.params_.size(); k++) if (params_[a.at + k] != other.params_[b.at + k]) std::fprintf(stderr, " %zu(%d %d)", k, int(params_[a.at+k]), int(other.params_[b.at+k]));
      std::fprintf(stderr, "\n");
    }
  }
 private:
  struct Launch {
    LaunchPlan plan;
    std::size_t at, bytes;  // of params_
    [[nodiscard]] bool operator==(const Launch& other) const {
      return std::strcmp(plan.kernel, other.plan.kernel) == 0 && plan.grid == other.plan.grid && plan.block == other.plan.block &&
             plan.shared_bytes == other.plan.shared_bytes && at == other.at && bytes == other.bytes;
    }
  };
  std::vector<Launch> launches_;
  std::vector<std::byte> params_;
};

}  // namespace splitwiser::cuda
