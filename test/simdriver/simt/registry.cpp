#include <algorithm>
#include <vector>

#include "simt/machine.hpp"

namespace simt {
namespace {

// A function's static: registrations run before main in no known order.
std::vector<const KernelEntry*>& registry() {
  static std::vector<const KernelEntry*> entries;
  return entries;
}

}  // namespace

RegisteredKernel::RegisteredKernel(const KernelEntry& with) : entry(with) { registry().push_back(&entry); }

std::span<const KernelEntry* const> kernels() { return registry(); }

const KernelEntry* find_kernel(std::string_view name) {
  const auto& all = registry();
  const auto found = std::ranges::find_if(all, [&](const KernelEntry* entry) { return name == entry->name; });
  return found == all.end() ? nullptr : *found;
}

// ---- architectures ------------------------------------------------------------------------------

SmLimits limits_of(int arch) {
  constexpr int kRegisters = 65536, kKiB = 1024;
  if (arch >= 120) return {1536, 24, kRegisters, 100 * kKiB, 99 * kKiB, kKiB};
  if (arch >= 90) return {2048, 32, kRegisters, 228 * kKiB, 227 * kKiB, kKiB};
  if (arch >= 89) return {1536, 24, kRegisters, 100 * kKiB, 99 * kKiB, kKiB};
  if (arch >= 86) return {1536, 16, kRegisters, 100 * kKiB, 99 * kKiB, kKiB};
  return {2048, 32, kRegisters, 164 * kKiB, 163 * kKiB, kKiB};
}

int occupancy(const SmLimits& limits, int threads, int registers_per_thread, int shared_bytes) {
  if (threads <= 0 || shared_bytes > limits.shared_bytes_per_block) return 0;
  const int warps = (threads + 31) / 32;
  // Registers are given to warps in units of 256, shared memory in units of 128 bytes.
  const int registers = warps * ((registers_per_thread * 32 + 255) / 256 * 256);
  const int shared = (shared_bytes + limits.shared_bytes_reserved + 127) / 128 * 128;
  int blocks = std::min(limits.blocks, limits.threads / (warps * 32));
  if (registers > 0) blocks = std::min(blocks, limits.registers / registers);
  return std::min(blocks, limits.shared_bytes / shared);
}

const char* name_of(Status status) {
  switch (status) {
    case Status::ok: return "ok";
    case Status::illegal_address: return "illegal address";
    case Status::misaligned: return "misaligned address";
    case Status::deadlock: return "deadlock";
    case Status::aborted: return "aborted";
  }
  return "?";
}

void Counters::add(const Counters& other) {
  static_assert(sizeof(Counters) % sizeof(std::uint64_t) == 0);
  auto* to = reinterpret_cast<std::uint64_t*>(this);
  const auto* from = reinterpret_cast<const std::uint64_t*>(&other);
  for (std::size_t i = 0; i < sizeof(Counters) / sizeof(std::uint64_t); ++i) to[i] += from[i];
}

}  // namespace simt
