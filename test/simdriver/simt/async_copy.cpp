// cp.async: the bytes are copied when a wait makes them arrive, or at random before. Until then the destination holds
// NaN, so that a kernel that waits for too few groups, or not at all, can't pass.
#include <cstring>

#include "simt/collectives.hpp"
#include "simt/ptx_host.hpp"
#include "simt/text.hpp"

namespace simt {

namespace {

void arrive(Thread& self, const AsyncCopy& copy) {
  if (instrumented) check_async_arrival(self, copy.to, copy.bytes, copy.site);
  if (copy.valid == 16) {  // the usual case, without calls
    std::memcpy(copy.to, copy.from, 16);
    return;
  }
  std::memcpy(copy.to, copy.from, copy.valid);
  std::memset(copy.to + copy.valid, 0, static_cast<std::size_t>(copy.bytes) - copy.valid);
}

[[noreturn]] void refuse(Thread& self, FindingKind kind, Status status, const void* site, std::string text) {
  machine_of(self).report(kind, place_of(self, site), text);
  machine_of(self).fail(self, status, text);
}

}  // namespace

void cp_async(void* to, const void* from, int bytes, int valid) {
  const void* site = __builtin_return_address(0);
  Thread& self = running();
  Block& block = *self.warp->block;
  const auto size = static_cast<std::size_t>(bytes);
  const auto target = reinterpret_cast<std::uintptr_t>(to), source = reinterpret_cast<std::uintptr_t>(from);
  if (((target | source) & (size - 1)) != 0) [[unlikely]] {
    refuse(self, FindingKind::misaligned, Status::misaligned, site,
           join("cp.async of ", bytes, " bytes from ", hex(from), " to shared ",
                hex(target - reinterpret_cast<std::uintptr_t>(block.shared)), ": both must be aligned to it"));
  }
  if (valid < 0 || valid > bytes) [[unlikely]] {
    refuse(self, FindingKind::async_copy, Status::aborted, site,
           join("cp.async of ", bytes, " bytes with a source size of ", valid));
  }
  const auto offset = target - reinterpret_cast<std::uintptr_t>(block.shared);
  if (offset > block.shared_bytes || size > block.shared_bytes - offset) [[unlikely]] {
    refuse(self, FindingKind::out_of_bounds, Status::illegal_address, site,
           join("cp.async writes ", bytes, " bytes at shared ", hex(offset), " of ", block.shared_bytes, " bytes"));
  }
  ++block.counters.async_copies;
  block.counters.async_copy_bytes += static_cast<std::uint64_t>(valid);
  if (instrumented) {
    if (valid != 0) check_access(self, from, static_cast<std::size_t>(valid), AccessKind::async_load, site);
    check_async_issue(self, to, size, site);
  }
  const AsyncCopy copy{static_cast<char*>(to), static_cast<const char*>(from), static_cast<std::uint8_t>(bytes),
                       static_cast<std::uint8_t>(valid), site};
  const AsyncCopies mode = machine_of(self).options.async_copies;
  const bool early = mode == AsyncCopies::early ||
                     (mode == AsyncCopies::mixed && (block.worker->random.next() >> 29) == 0);
  if (early && !instrumented) {
    arrive(self, copy);
    return;
  }
  if (bytes == 16) std::memset(to, 0xff, 16);
  else std::memset(to, 0xff, 4);
  self.copies.push_back(copy);
}

void cp_async_commit() {
  Thread& self = running();
  self.groups.push_back(static_cast<std::uint32_t>(self.copies.size()));
}

void cp_async_wait(int pending) {
  Thread& self = running();
  const std::size_t groups = self.groups.size();
  if (groups <= static_cast<std::size_t>(pending)) return;
  const std::size_t arrived = groups - static_cast<std::size_t>(pending);
  const std::uint32_t copies = self.groups[arrived - 1];
  for (std::uint32_t i = 0; i < copies; ++i) arrive(self, self.copies[i]);
  self.copies.erase(self.copies.begin(), self.copies.begin() + copies);
  self.groups.erase(self.groups.begin(), self.groups.begin() + static_cast<std::ptrdiff_t>(arrived));
  for (std::uint32_t& end : self.groups) end -= copies;
}

}  // namespace simt
