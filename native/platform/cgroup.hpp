// What the control groups (v1 and v2) of this process grant. Without cgroups: no limit.
#pragma once

#include <cstdint>
#include <optional>

namespace splitwiser {

// Processors' worth of CPU time; 0: no limit.
[[nodiscard]] double cgroup_cpu_quota();

struct CgroupMemory {
  std::uint64_t limit;      // bytes
  std::uint64_t available;  // bytes until the limit, page cache that can be dropped counted as free
};
// The tightest limit on the way from this process's group to the root; nothing: no limit.
[[nodiscard]] std::optional<CgroupMemory> cgroup_memory();

}  // namespace splitwiser
