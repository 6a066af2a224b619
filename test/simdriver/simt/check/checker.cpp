#include "simt/check/checker.hpp"

#include <link.h>
#include <sys/mman.h>

#include <algorithm>
#include <new>
#include <thread>

#include "simt/text.hpp"

namespace simt {

bool instrumented = false;
bool checked() { return instrumented; }

Checker* new_checker(Machine::Impl& machine) { return new Checker(machine); }
void delete_checker(Checker* checker) { delete checker; }

Cells::Cells(std::size_t count) : bytes_((count + 1) * sizeof(Cell)) {
  void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  data_ = static_cast<Cell*>(memory);
}
Cells::~Cells() { munmap(data_, bytes_); }

namespace {

struct Image {
  std::uintptr_t inside, begin = 0, end = 0;
};

int visit_image(dl_phdr_info* info, std::size_t, void* data) {
  auto& image = *static_cast<Image*>(data);
  std::uintptr_t begin = ~std::uintptr_t{0}, end = 0;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    if (info->dlpi_phdr[i].p_type != PT_LOAD) continue;
    const std::uintptr_t from = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
    begin = std::min(begin, from);
    end = std::max(end, from + info->dlpi_phdr[i].p_memsz);
  }
  if (image.inside < begin || image.inside >= end) return 0;
  image.begin = begin;
  image.end = end;
  return 1;
}

}  // namespace

Checker::Checker(Machine::Impl& of) : machine(of) {
  Image image{reinterpret_cast<std::uintptr_t>(&instrumented)};
  dl_iterate_phdr(&visit_image, &image);
  image_begin_ = image.begin;
  image_bytes_ = image.end - image.begin;
  owners_.push_back({0, 0, -1, nullptr});
}

std::uint32_t Checker::new_epoch(const EpochOwner& owner) {
  owners_.push_back(owner);
  return static_cast<std::uint32_t>(owners_.size() - 1);
}

RawPlace Checker::place_of_record(const Record& record) const {
  const EpochOwner& owner = owners_[record.epoch];
  if (owner.block < 0) return {owner.label, owner.token, -1, -1, nullptr};
  return {owner.label, owner.token, owner.block, record.thread, unpack(record.site)};
}

// ---- allocations --------------------------------------------------------------------------------

Allocation* Checker::find(std::uintptr_t address) {
  if (last_ != nullptr && address - last_->base < last_->bytes) return last_;
  auto after = allocations_.upper_bound(address);
  if (after == allocations_.begin()) return nullptr;
  Allocation* found = std::prev(after)->second.get();
  if (address - found->base >= found->bytes) return nullptr;
  return last_ = found;
}

Allocation* Checker::by_id(std::uint32_t id) {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second;
}

void Checker::add(Allocation allocation) {
  const std::uintptr_t end = allocation.base + allocation.bytes;
  std::erase_if(freed_, [&](const auto& old) { return old->base < end && allocation.base < old->base + old->bytes; });
  allocation.id = ++ids_;
  allocation.cells = std::make_unique<Cells>((allocation.bytes + 3) / 4);
  auto owned = std::make_unique<Allocation>(std::move(allocation));
  by_id_[owned->id] = owned.get();
  last_ = nullptr;
  allocations_[owned->base] = std::move(owned);
}

void Checker::free(std::uintptr_t base, const Clock& before) {
  const auto found = allocations_.find(base);
  if (found == allocations_.end()) {
    machine.report(FindingKind::other, {"free", 0, -1, -1, nullptr}, join("no allocation begins at ", hex(base)));
    return;
  }
  Allocation& allocation = *found->second;
  for (const Token user : allocation.users) {
    if (order.covers(before, user)) continue;
    machine.report(FindingKind::use_after_free, {"free", 0, -1, -1, nullptr},
                   join("'", allocation.label, "' (", allocation.bytes, " bytes at ", hex(base),
                        ") is freed, but a grid (token ", user, ") that uses it is not known to have ended"));
    break;
  }
  by_id_.erase(allocation.id);
  allocation.cells.reset();
  for (auto at = released.begin(); at != released.end();) {
    at = at->first - base < allocation.bytes ? released.erase(at) : std::next(at);
  }
  freed_.push_back(std::move(found->second));
  if (freed_.size() > 4096) freed_.erase(freed_.begin());
  allocations_.erase(found);
  last_ = nullptr;
}

const Allocation* Checker::freed_at(std::uintptr_t address) const {
  for (auto at = freed_.rbegin(); at != freed_.rend(); ++at) {
    if (address - (*at)->base < (*at)->bytes) return at->get();
  }
  return nullptr;
}

std::vector<Allocation*> Checker::overlapping(std::uintptr_t base, std::size_t bytes) {
  std::vector<Allocation*> found;
  auto at = allocations_.upper_bound(base);
  if (at != allocations_.begin()) --at;
  for (; at != allocations_.end() && at->first < base + bytes; ++at) {
    if (base < at->first + at->second->bytes) found.push_back(at->second.get());
  }
  return found;
}

std::string Checker::describe(std::uintptr_t address) const {
  const auto after = allocations_.upper_bound(address);
  const Allocation* below = after == allocations_.begin() ? nullptr : std::prev(after)->second.get();
  const Allocation* above = after == allocations_.end() ? nullptr : after->second.get();
  const std::uintptr_t past = below == nullptr ? ~std::uintptr_t{0} : address - (below->base + below->bytes);
  const std::uintptr_t ahead = above == nullptr ? ~std::uintptr_t{0} : above->base - address;
  constexpr std::uintptr_t kNear = 1u << 24;
  if (std::min(past, ahead) > kNear) return "far from every allocation";
  if (past <= ahead) return join(past, " bytes after the end of '", below->label, "' (", below->bytes, " bytes)");
  return join(ahead, " bytes before '", above->label, "' (", above->bytes, " bytes)");
}

// ---- turns --------------------------------------------------------------------------------------

HostTurn::HostTurn(Checker& checker) : checker_(checker) {
  ++checker_.hosts_waiting;
  checker_.machine.alert();
  checker_.memory_mutex.lock();
  --checker_.hosts_waiting;
}
HostTurn::~HostTurn() { checker_.memory_mutex.unlock(); }

void begin_fibers(Checker& checker) {
  while (true) {
    while (checker.hosts_waiting.load() != 0) std::this_thread::yield();
    checker.memory_mutex.lock();
    return;
  }
}
void end_fibers(Checker& checker) { checker.memory_mutex.unlock(); }

}  // namespace simt
