#include "platform/affinity.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <new>
#include <set>
#include <string>
#include <thread>
#include <utility>

#include "platform/cgroup.hpp"

#if defined(__linux__)
#include <sched.h>
#endif

namespace splitwiser {

int ProcessorSet::usable_cores() const {
  int cores = std::max(physical_cores, 1);
  if (quota > 0) cores = std::min(cores, static_cast<int>(std::ceil(quota)));
  return std::max(cores, 1);
}

#if defined(__linux__)

namespace {

// A mask for any number of processors: cpu_set_t ends at 1024.
class CpuMask {
 public:
  CpuMask() : count_(4096), set_(CPU_ALLOC(4096)) {
    if (set_ != nullptr) CPU_ZERO_S(size(), set_);
  }
  ~CpuMask() {
    if (set_ != nullptr) CPU_FREE(set_);
  }
  CpuMask(const CpuMask&) = delete;
  CpuMask& operator=(const CpuMask&) = delete;
  [[nodiscard]] std::size_t size() const { return CPU_ALLOC_SIZE(count_); }
  [[nodiscard]] cpu_set_t* get() const { return set_; }
  [[nodiscard]] int count() const { return count_; }
  [[nodiscard]] bool read() const { return set_ != nullptr && ::sched_getaffinity(0, size(), set_) == 0; }
  bool apply() const { return set_ != nullptr && ::sched_setaffinity(0, size(), set_) == 0; }

 private:
  int count_;
  cpu_set_t* set_;
};

int topology_value(int processor, const char* name) {
  std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(processor) + "/topology/" + name);
  int value = -1;
  return file >> value ? value : -1;
}

}  // namespace

struct ScopedPin::Mask {
  CpuMask cpus;
};

ProcessorSet allowed_processors() {
  ProcessorSet result;
  const CpuMask mask;
  std::vector<int> siblings;
  std::set<std::pair<int, int>> cores;  // (package, core)
  if (mask.read()) {
    for (int processor = 0; processor < mask.count(); ++processor) {
      if (!CPU_ISSET_S(processor, mask.size(), mask.get())) continue;
      const int core = topology_value(processor, "core_id");
      // Where the topology is hidden every processor counts as a core.
      const bool first = core < 0 || cores.emplace(topology_value(processor, "physical_package_id"), core).second;
      (first ? result.processors : siblings).push_back(processor);
    }
  }
  result.physical_cores = std::max<int>(1, static_cast<int>(result.processors.size()));
  result.processors.insert(result.processors.end(), siblings.begin(), siblings.end());
  result.quota = cgroup_cpu_quota();
  return result;
}

bool pin_this_thread(int processor) noexcept {
  const CpuMask mask;
  if (mask.get() == nullptr || processor < 0 || processor >= mask.count()) return false;
  CPU_SET_S(processor, mask.size(), mask.get());
  return mask.apply();
}

ScopedPin::ScopedPin(int processor) noexcept {
  if (processor < 0) return;
  old_.reset(new (std::nothrow) Mask);
  if (old_ == nullptr || !old_->cpus.read() || !pin_this_thread(processor)) old_.reset();
}

ScopedPin::~ScopedPin() {
  if (old_ != nullptr) old_->cpus.apply();
}

#else

struct ScopedPin::Mask {};

ProcessorSet allowed_processors() {
  ProcessorSet result;
  const int count = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  for (int processor = 0; processor < count; ++processor) result.processors.push_back(processor);
  result.physical_cores = count;
  return result;
}

bool pin_this_thread(int) noexcept { return false; }
ScopedPin::ScopedPin(int) noexcept {}
ScopedPin::~ScopedPin() = default;

#endif

}  // namespace splitwiser
