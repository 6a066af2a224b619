// ldmatrix and mma.m16n8k16: fragments as the PTX ISA lays them out ("Matrix fragments for mma.m16n8k16 with floating
// point type", "Warp-level matrix load instruction: ldmatrix"). With group = lane / 4 and t = lane % 4:
//
//   A [16, 16]   a[0]: row group,     columns 2t, 2t + 1        b[0]: rows (k) 2t, 2t + 1,     column group    B [16, 8]
//                a[1]: row group + 8, columns 2t, 2t + 1        b[1]: rows (k) 2t + 8, 2t + 9, column group
//                a[2]: row group,     columns 2t + 8, 2t + 9
//                a[3]: row group + 8, columns 2t + 8, 2t + 9    D [16, 8]  d[0], d[1]: row group,     columns 2t, 2t + 1
//                                                                          d[2], d[3]: row group + 8, columns 2t, 2t + 1
#include <cstring>

#include "simt/collectives.hpp"
#include "simt/mma.hpp"
#include "simt/ptx_host.hpp"
#include "simt/text.hpp"

namespace simt {

namespace {

constexpr std::uint32_t kAllLanes = 0xffffffffu;

void check_row(Thread& self, const Thread& lane, const char* row, const void* site) {
  const Block& block = *self.warp->block;
  const auto offset = static_cast<std::uint64_t>(row - block.shared);
  if ((offset & 15u) != 0) [[unlikely]] {
    machine_of(self).report(FindingKind::misaligned, place_of(lane, site),
                            join("ldmatrix: the row at shared ", hex(offset), " is not aligned to 16"));
    machine_of(self).fail(self, Status::misaligned, "ldmatrix: a row is not aligned to 16");
  }
  if (offset > block.shared_bytes || block.shared_bytes - offset < 16) [[unlikely]] {
    machine_of(self).report(
        FindingKind::out_of_bounds, place_of(lane, site),
        join("ldmatrix: the row at shared ", hex(offset), " of ", block.shared_bytes, " bytes"));
    machine_of(self).fail(self, Status::illegal_address, "ldmatrix: a row outside shared memory");
  }
}

// Further passes that the 8 rows of 16 bytes need: rows of the same 16 of 128 bytes, the same row counted once.
std::uint32_t conflicts_of(const char* const (&rows)[8], const char* shared) {
  std::uint32_t most = 1, taken = 0;
  for (int i = 0; i < 8; ++i) {
    const auto bank = static_cast<std::uint32_t>((rows[i] - shared) >> 4 & 7);
    if ((taken >> bank & 1u) == 0) {
      taken |= 1u << bank;
      continue;
    }
    std::uint32_t passes = 1;
    for (int j = 0; j < i; ++j) {
      const auto other = static_cast<std::uint32_t>((rows[j] - shared) >> 4 & 7);
      bool known = other != bank || rows[j] == rows[i];
      for (int before = 0; before < j && !known; ++before) known = rows[before] == rows[j];
      passes += known ? 0 : 1;
    }
    most = most > passes ? most : passes;
  }
  return most - 1;
}

}  // namespace

void ldmatrix(std::uint32_t* to, int matrices, bool transposed, const void* row) {
  const void* site = __builtin_return_address(0);
  Thread& self = running();
  Warp& warp = *self.warp;
  warp.operand[self.lane] = reinterpret_cast<std::uintptr_t>(row);
  const auto variant = static_cast<std::uint8_t>(matrices + (transposed ? 8 : 0));
  meet(self, kAllLanes, Meeting::ldmatrix, variant, true, site, [&](std::uint32_t) {
    Counters& counters = warp.block->counters;
    ++counters.ldmatrix;
    for (int m = 0; m < matrices; ++m) {
      const char* rows[8];
      for (int r = 0; r < 8; ++r) {
        const auto lane = static_cast<std::size_t>(m * 8 + r);
        rows[r] = reinterpret_cast<const char*>(warp.operand[lane]);
        check_row(self, warp.threads[lane], rows[r], site);
        if (instrumented) check_access(warp.threads[lane], rows[r], 16, AccessKind::ldmatrix, site);
      }
      counters.ldmatrix_conflicts += conflicts_of(rows, warp.block->shared);
      for (int lane = 0; lane < 32; ++lane) {
        std::uint32_t& out = warp.fragment[static_cast<std::size_t>(lane)][static_cast<std::size_t>(m)];
        if (!transposed) {
          std::memcpy(&out, rows[lane / 4] + lane % 4 * 4, 4);
        } else {
          std::uint16_t low, high;
          std::memcpy(&low, rows[lane % 4 * 2] + lane / 4 * 2, 2);
          std::memcpy(&high, rows[lane % 4 * 2 + 1] + lane / 4 * 2, 2);
          out = low | static_cast<std::uint32_t>(high) << 16;
        }
      }
    }
  });
  std::memcpy(to, warp.fragment[self.lane].data(), static_cast<std::size_t>(matrices) * 4);
}

void mma_m16n8k16(bool bf16, float* d, const std::uint32_t* a, const std::uint32_t* b) {
  const void* site = __builtin_return_address(0);
  Thread& self = running();
  Warp& warp = *self.warp;
  const std::uint32_t group = self.lane / 4, pair = self.lane % 4 * 2;
  // A lane writes and reads its own elements only, and nobody multiplies before all have come: no element of a slow
  // lane's last result is lost to a quick lane's next operands.
  std::memcpy(&warp.a[group][pair], a, 4);
  std::memcpy(&warp.a[group + 8][pair], a + 1, 4);
  std::memcpy(&warp.a[group][pair + 8], a + 2, 4);
  std::memcpy(&warp.a[group + 8][pair + 8], a + 3, 4);
  warp.b[pair][group] = static_cast<std::uint16_t>(b[0]);
  warp.b[pair + 1][group] = static_cast<std::uint16_t>(b[0] >> 16);
  warp.b[pair + 8][group] = static_cast<std::uint16_t>(b[1]);
  warp.b[pair + 9][group] = static_cast<std::uint16_t>(b[1] >> 16);
  std::memcpy(&warp.d[group][pair], d, 8);
  std::memcpy(&warp.d[group + 8][pair], d + 2, 8);
  meet(self, kAllLanes, Meeting::mma, bf16 ? 1 : 0, true, site, [&](std::uint32_t) {
    ++warp.block->counters.mma;
    const Machine::Impl& machine = machine_of(self);
    if (machine.options.mma == MmaMode::ordered) {
      multiply_ordered(bf16, warp.a, warp.b, warp.d, machine.mma_order);
    } else if (machine.options.arch >= 90) {
      multiply_truncated(bf16, warp.a, warp.b, warp.d, 16, 25);
    } else {
      multiply_truncated(bf16, warp.a, warp.b, warp.d, 8, 24);
    }
  });
  std::memcpy(d, &warp.d[group][pair], 8);
  std::memcpy(d + 2, &warp.d[group + 8][pair], 8);
}

}  // namespace simt
