// Lanes' accesses grouped into warp-level instructions, for sectors and bank conflicts. The lanes of a warp run one after
// the other between collectives, so that what the hardware does at once is put together afterwards: the n-th access of
// each lane from one place of the code is one instruction.
#include <algorithm>
#include <map>

#include "simt/check/checker.hpp"

namespace simt {

namespace {

constexpr std::size_t kLongLog = 1 << 15;  // accesses of a lane without a collective

struct Group {
  std::uint32_t lanes = 0;
  std::array<const Logged*, 32> of{};
};

// Further passes over the 32 banks: lanes in phases, each bank one word at a time, equal words once.
std::uint64_t bank_conflicts(const Group& group, std::uintptr_t shared) {
  std::size_t bytes = 4;
  for (std::uint32_t left = group.lanes; left != 0; left &= left - 1) {
    bytes = std::max<std::size_t>(bytes, group.of[static_cast<unsigned>(std::countr_zero(left))]->bytes);
  }
  const unsigned lanes_at_once = bytes <= 4 ? 32 : bytes <= 8 ? 16 : 8;
  std::uint64_t conflicts = 0;
  for (unsigned first = 0; first < 32; first += lanes_at_once) {
    std::array<std::vector<std::uintptr_t>, 32> words;
    for (unsigned lane = first; lane < first + lanes_at_once; ++lane) {
      if ((group.lanes >> lane & 1u) == 0) continue;
      const Logged& one = *group.of[lane];
      const std::uintptr_t from = (one.address - shared) / 4, to = (one.address - shared + one.bytes - 1) / 4;
      for (std::uintptr_t word = from; word <= to; ++word) {
        auto& bank = words[word % 32];
        if (std::ranges::find(bank, word) == bank.end()) bank.push_back(word);
      }
    }
    std::size_t passes = 1;
    for (const auto& bank : words) passes = std::max(passes, bank.size());
    conflicts += passes - 1;
  }
  return conflicts;
}

void touch(std::vector<std::uint64_t>& bits, std::uintptr_t sector, std::size_t sectors) {
  if (bits.empty()) bits.resize(sectors / 64 + 1);
  bits[sector / 64] |= std::uint64_t{1} << (sector % 64);
}

void count(Warp& warp, const Group& group) {
  Block& block = *warp.block;
  Counters& counters = block.counters;
  const Logged& first = *group.of[static_cast<unsigned>(std::countr_zero(group.lanes))];
  std::uint64_t bytes = 0;
  for (std::uint32_t left = group.lanes; left != 0; left &= left - 1) {
    bytes += group.of[static_cast<unsigned>(std::countr_zero(left))]->bytes;
  }
  if (first.traffic != Traffic::global_load && first.traffic != Traffic::global_store) {
    const std::uint64_t conflicts = bank_conflicts(group, reinterpret_cast<std::uintptr_t>(block.shared));
    if (first.traffic == Traffic::async_store) {
      counters.async_copy_conflicts += conflicts;
    } else if (first.traffic == Traffic::shared_load) {
      counters.shared_load_bytes += bytes;
      counters.shared_load_conflicts += conflicts;
    } else {
      counters.shared_store_bytes += bytes;
      counters.shared_store_conflicts += conflicts;
    }
    return;
  }
  const bool store = first.traffic == Traffic::global_store;
  std::vector<std::uintptr_t> sectors;
  sectors.reserve(64);
  Checker& checker = *block.worker->machine.checker;
  std::uint32_t id = 0;
  const Allocation* allocation = nullptr;
  std::vector<std::uint64_t>* bits = nullptr;
  for (std::uint32_t left = group.lanes; left != 0; left &= left - 1) {
    const Logged& one = *group.of[static_cast<unsigned>(std::countr_zero(left))];
    if (one.allocation != id || allocation == nullptr) {
      id = one.allocation;
      allocation = checker.by_id(id);
      if (allocation == nullptr) continue;
      CheckedGrid::Touched& touched = block.checked->grid->touched[id];
      bits = store ? &touched.stored : &touched.loaded;
    }
    const std::uintptr_t origin = allocation->base / 32;
    for (std::uintptr_t sector = one.address / 32; sector <= (one.address + one.bytes - 1) / 32; ++sector) {
      sectors.push_back(sector);
      touch(*bits, sector - origin, allocation->bytes / 32 + 2);
    }
  }
  std::ranges::sort(sectors);
  const auto different = static_cast<std::uint64_t>(std::ranges::unique(sectors).begin() - sectors.begin());
  if (store) {
    ++counters.global_store_requests;
    counters.global_store_bytes += bytes;
    counters.global_store_sectors += different;
  } else {
    ++counters.global_load_requests;
    counters.global_load_bytes += bytes;
    counters.global_load_sectors += different;
  }
}

// All lanes did the same, one access for one: the usual case.
bool in_step(const std::vector<CheckedThread*>& lanes) {
  const auto& first = lanes[0]->log;
  return std::ranges::all_of(lanes, [&](const CheckedThread* lane) {
    return lane->log.size() == first.size() &&
           std::ranges::equal(lane->log, first, [](const Logged& a, const Logged& b) {
             return a.site == b.site && a.traffic == b.traffic;
           });
  });
}

}  // namespace

void check_warp_meets(Warp& warp) {
  CheckedBlock& checked = *warp.block->checked;
  std::vector<CheckedThread*> lanes;
  bool any = false;
  for (std::uint32_t lane = 0; lane < 32 && (warp.members >> lane & 1u) != 0; ++lane) {
    lanes.push_back(&checked.threads[warp.index * 32 + lane]);
    any = any || !lanes.back()->log.empty();
  }
  if (!any) return;
  if (in_step(lanes)) {
    for (std::size_t i = 0; i < lanes[0]->log.size(); ++i) {
      Group group;
      for (std::size_t lane = 0; lane < lanes.size(); ++lane) {
        group.lanes |= 1u << lane;
        group.of[lane] = &lanes[lane]->log[i];
      }
      count(warp, group);
    }
  } else {
    std::map<std::tuple<std::int32_t, Traffic, std::uint32_t>, Group> groups;
    std::map<std::pair<std::int32_t, Traffic>, std::uint32_t> times;
    for (std::size_t lane = 0; lane < lanes.size(); ++lane) {
      times.clear();
      for (const Logged& one : lanes[lane]->log) {
        Group& group = groups[{one.site, one.traffic, times[{one.site, one.traffic}]++}];
        group.lanes |= 1u << lane;
        group.of[lane] = &one;
      }
    }
    for (const auto& [key, group] : groups) count(warp, group);
  }
  for (CheckedThread* lane : lanes) lane->log.clear();
}

void log_access(Thread& self, Traffic traffic, std::uintptr_t address, std::size_t bytes, std::uint32_t allocation,
                std::int32_t site) {
  std::vector<Logged>& log = checked_of(self).threads[self.index].log;
  // Without a collective for so long, the lanes are put together where they are: at worst an instruction in two parts.
  if (log.size() >= kLongLog) check_warp_meets(*self.warp);
  log.push_back({address, site, allocation, static_cast<std::uint16_t>(bytes), traffic});
}

}  // namespace simt
