#include "platform/cgroup.hpp"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace splitwiser {
namespace {

constexpr std::uint64_t kNoLimit = std::uint64_t(1) << 60;  // v1 writes "none" as a number near 2^63

bool is_listed(const std::string& controllers, const std::string& wanted) {
  std::istringstream list(controllers);
  std::string name;
  while (std::getline(list, name, ',')) {
    if (name == wanted) return true;
  }
  return false;
}

// The groups that hold this process, from its own up to the root, as folders. A container often sees
// its group's folder as the mount's root although /proc/self/cgroup names the host's path: folders
// that are missing are skipped by whoever reads a file in them.
std::vector<std::string> folders(const std::string& controller) {
  std::vector<std::string> result;
  std::ifstream file("/proc/self/cgroup");
  std::string line;
  while (std::getline(file, line)) {
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string mount = "/sys/fs/cgroup";  // v2 names no controllers
    if (!controllers.empty()) {
      if (!is_listed(controllers, controller)) continue;
      mount += '/';
      mount += controller;
    }
    std::string path = line.substr(second + 1);
    while (!path.empty() && path != "/") {
      result.push_back(mount + path);
      path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
    }
    result.push_back(mount);
  }
  return result;
}

std::optional<std::uint64_t> read_number(const std::string& path) {
  std::ifstream file(path);
  std::uint64_t value = 0;
  if (file >> value) return value;  // "max" is no number: no limit
  return std::nullopt;
}

std::uint64_t stat_value(const std::string& folder, const std::string& wanted) {
  std::ifstream file(folder + "/memory.stat");
  std::string name;
  std::uint64_t value = 0;
  while (file >> name >> value) {
    if (name == wanted) return value;
  }
  return 0;
}

}  // namespace

double cgroup_cpu_quota() {
  double quota = 0;
  const auto tighten = [&](double candidate) {
    if (candidate > 0 && (quota == 0 || candidate < quota)) quota = candidate;
  };
  for (const std::string& folder : folders("cpu")) {
    std::ifstream v2(folder + "/cpu.max");
    std::string limit;
    double period = 0;
    if (v2 >> limit >> period && limit != "max" && period > 0) {
      double value = 0;
      if (std::istringstream(limit) >> value) tighten(value / period);
    }
    std::ifstream v1_quota(folder + "/cpu.cfs_quota_us");
    std::ifstream v1_period(folder + "/cpu.cfs_period_us");
    double value = 0;
    if (v1_quota >> value && v1_period >> period && value > 0 && period > 0) tighten(value / period);
  }
  return quota;
}

std::optional<CgroupMemory> cgroup_memory() {
  std::optional<CgroupMemory> tightest;
  const auto consider = [&](const std::string& folder, std::optional<std::uint64_t> limit,
                            std::optional<std::uint64_t> used, const char* droppable) {
    if (!limit || *limit >= kNoLimit || !used) return;
    const std::uint64_t cache = std::min(stat_value(folder, droppable), *used);
    const std::uint64_t busy = *used - cache;
    const CgroupMemory memory{*limit, *limit > busy ? *limit - busy : 0};
    if (!tightest || memory.available < tightest->available) tightest = memory;
  };
  for (const std::string& folder : folders("memory")) {
    consider(folder, read_number(folder + "/memory.max"), read_number(folder + "/memory.current"), "inactive_file");
    consider(folder, read_number(folder + "/memory.limit_in_bytes"), read_number(folder + "/memory.usage_in_bytes"),
             "total_inactive_file");
  }
  return tightest;
}

}  // namespace splitwiser
