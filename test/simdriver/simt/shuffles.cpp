// Warp collectives that move registers. None of them orders memory.
#include <algorithm>

#include "simt/collectives.hpp"
#include "simt/text.hpp"
#include "simt/warp.hpp"

namespace simt {

namespace {

// The lane that `lane` reads, or itself where the source lies outside its segment (PTX ISA, shfl.sync).
unsigned source_of(ShuffleKind kind, unsigned lane, unsigned operand, unsigned width) {
  const unsigned first = lane & ~(width - 1), last = first + width - 1;
  switch (kind) {
    case ShuffleKind::index: return first + (operand & (width - 1));
    case ShuffleKind::up: return lane >= first + operand ? lane - operand : lane;
    case ShuffleKind::down: return lane + operand <= last ? lane + operand : lane;
    case ShuffleKind::butterfly: return (lane ^ operand) <= last ? lane ^ operand : lane;
  }
  return lane;
}

}  // namespace

std::uint64_t shuffle(ShuffleKind kind, std::uint32_t mask, std::uint64_t value, unsigned operand, unsigned width) {
  const void* site = __builtin_return_address(0);
  Thread& self = running();
  Warp& warp = *self.warp;
  if (width == 0 || width > 32 || (width & (width - 1)) != 0) {
    machine_of(self).report(FindingKind::other, place_of(self, site), join("a shuffle of width ", width));
    machine_of(self).fail(self, Status::aborted, "a shuffle's width is not a power of two up to 32");
  }
  operand &= kind == ShuffleKind::index ? 31u : 0xffffffffu;
  const unsigned source = source_of(kind, self.lane, std::min(operand, 32u), width);
  warp.operand[self.lane] = value;
  warp.detail[self.lane] = source;
  meet(self, mask, Meeting::shuffle, static_cast<std::uint8_t>(kind), false, site, [&](std::uint32_t lanes) {
    ++warp.block->counters.shuffles;
    for (std::uint32_t left = lanes; left != 0; left &= left - 1) {
      const auto lane = static_cast<unsigned>(std::countr_zero(left));
      const unsigned from = warp.detail[lane];
      if ((lanes >> from & 1u) == 0) [[unlikely]] {
        const Thread& reader = warp.threads[lane];
        reader.warp->block->worker->machine.report(
            FindingKind::wrong_mask, place_of(reader, site),
            join("a shuffle reads lane ", from, ", which takes no part (mask ", hex(mask), "): undefined"));
        warp.result[lane] = ~std::uint64_t{0};
        continue;
      }
      warp.result[lane] = warp.operand[from];
    }
  });
  return warp.result[self.lane];
}

std::uint32_t ballot(std::uint32_t mask, bool predicate) {
  const void* site = __builtin_return_address(0);
  Thread& self = running();
  Warp& warp = *self.warp;
  warp.operand[self.lane] = predicate ? 1 : 0;
  meet(self, mask, Meeting::vote, 0, false, site, [&](std::uint32_t lanes) {
    ++warp.block->counters.votes;
    std::uint32_t votes = 0;
    for (std::uint32_t lane = 0; lane < 32; ++lane) {
      if ((lanes >> lane & 1u) != 0 && warp.operand[lane] != 0) votes |= 1u << lane;
    }
    for (std::uint32_t lane = 0; lane < 32; ++lane) {
      if ((lanes >> lane & 1u) != 0) warp.result[lane] = votes;
    }
  });
  return static_cast<std::uint32_t>(warp.result[self.lane]);
}

std::uint32_t reduce(Reduction kind, std::uint32_t mask, std::uint32_t value) {
  const void* site = __builtin_return_address(0);
  Thread& self = running();
  Warp& warp = *self.warp;
  warp.operand[self.lane] = value;
  const auto fold = [kind](std::uint32_t a, std::uint32_t b) {
    const auto sa = static_cast<std::int32_t>(a), sb = static_cast<std::int32_t>(b);
    switch (kind) {
      case Reduction::add: return a + b;
      case Reduction::min: return std::min(a, b);
      case Reduction::max: return std::max(a, b);
      case Reduction::min_signed: return static_cast<std::uint32_t>(std::min(sa, sb));
      case Reduction::max_signed: return static_cast<std::uint32_t>(std::max(sa, sb));
      case Reduction::bit_and: return a & b;
      case Reduction::bit_or: return a | b;
      case Reduction::bit_xor: return a ^ b;
    }
    return a;
  };
  meet(self, mask, Meeting::reduce, static_cast<std::uint8_t>(kind), false, site, [&](std::uint32_t lanes) {
    ++warp.block->counters.shuffles;
    std::uint32_t total = static_cast<std::uint32_t>(warp.operand[static_cast<unsigned>(std::countr_zero(lanes))]);
    for (std::uint32_t left = lanes & (lanes - 1); left != 0; left &= left - 1) {
      total = fold(total, static_cast<std::uint32_t>(warp.operand[static_cast<unsigned>(std::countr_zero(left))]));
    }
    for (std::uint32_t left = lanes; left != 0; left &= left - 1) {
      warp.result[static_cast<unsigned>(std::countr_zero(left))] = total;
    }
  });
  return static_cast<std::uint32_t>(warp.result[self.lane]);
}

std::uint32_t match_any(std::uint32_t mask, std::uint64_t value) {
  const void* site = __builtin_return_address(0);
  Thread& self = running();
  Warp& warp = *self.warp;
  warp.operand[self.lane] = value;
  meet(self, mask, Meeting::match, 0, false, site, [&](std::uint32_t lanes) {
    ++warp.block->counters.votes;
    for (std::uint32_t lane = 0; lane < 32; ++lane) {
      std::uint32_t same = 0;
      for (std::uint32_t other = 0; other < 32; ++other) {
        if ((lanes >> other & 1u) != 0 && warp.operand[other] == warp.operand[lane]) same |= 1u << other;
      }
      if ((lanes >> lane & 1u) != 0) warp.result[lane] = same;
    }
  });
  return static_cast<std::uint32_t>(warp.result[self.lane]);
}

std::uint32_t active_mask() {
  // Any subset that holds the caller is allowed; the smallest is the least friendly.
  return 1u << running().lane;
}

}  // namespace simt
