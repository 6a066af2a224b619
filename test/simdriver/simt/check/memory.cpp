// The host's side: allocations, frees, copies. The tier is asked here, so that the face is the same in both.
#include <cstring>

#include "simt/check/checker.hpp"
#include "simt/text.hpp"

namespace simt {

void Machine::on_alloc(void* base, std::size_t bytes, std::string label, Space space, bool poison, bool initialised) {
  if (poison) std::memset(base, 0xff, bytes);
  if (impl_->checker == nullptr) return;
  const HostTurn turn(*impl_->checker);
  Allocation allocation;
  allocation.base = reinterpret_cast<std::uintptr_t>(base);
  allocation.bytes = bytes;
  allocation.label = std::move(label);
  allocation.space = space;
  allocation.initialised = initialised || space == Space::pinned;
  impl_->checker->add(std::move(allocation));
}

void Machine::on_free(void* base, std::span<const Token> after) {
  if (impl_->checker == nullptr) return;
  const Clock before = impl_->checker->order.before(after);
  const HostTurn turn(*impl_->checker);
  impl_->checker->free(reinterpret_cast<std::uintptr_t>(base), before);
}

Token Machine::join(std::uint64_t chain, std::span<const Token> after) {
  const Token token = impl_->next_token.fetch_add(1);
  if (impl_->checker != nullptr) impl_->checker->order.enter(token, chain, after);
  return token;
}

namespace {

// Calls with each cell of [base, base + bytes) of an allocation and the bytes of it that are meant.
template <typename Each>
void for_cells(const Allocation& allocation, std::uintptr_t base, std::size_t bytes, Each&& each) {
  const std::uintptr_t from = std::max(base, allocation.base) - allocation.base;
  const std::uintptr_t to = std::min(base + bytes, allocation.base + allocation.bytes) - allocation.base;
  for (std::uintptr_t at = from; at < to;) {
    const std::uintptr_t word = at & ~std::uintptr_t{3};
    const std::uintptr_t end = std::min(to, word + 4);
    const auto mask = static_cast<std::uint8_t>(((1u << (end - word)) - 1) & ~((1u << (at - word)) - 1));
    each(allocation.cells->data()[word / 4], mask, allocation.base + word);
    at = end;
  }
}

}  // namespace

Token Machine::host_access(const HostAccess& access) {
  const Token token = impl_->next_token.fetch_add(1);
  if (impl_->checker == nullptr) return token;
  Checker& checker = *impl_->checker;
  checker.order.enter(token, access.chain, access.after);
  if (access.bytes == 0) return token;
  const std::shared_ptr<const Clock> clock = checker.order.clock_of(token);
  const HostTurn turn(checker);
  const std::uint32_t epoch = checker.new_epoch({token, 0, -1, access.label});
  const Record me{epoch, 0, 0, 0};
  std::uint32_t known = 0;  // the last epoch that was found to be before
  const auto base = reinterpret_cast<std::uintptr_t>(access.base);
  for (Allocation* allocation : checker.overlapping(base, access.bytes)) {
    if (allocation->space == Space::pinned) continue;
    const auto expect = [&](const Record& other, std::uintptr_t address, const char* what) {
      if (other.epoch == 0 || other.epoch == known) return;
      if (checker.order.covers(*clock, checker.owner_of(other.epoch).token)) {
        known = other.epoch;
        return;
      }
      const RawPlace here{access.label, token, -1, -1, nullptr}, there = checker.place_of_record(other);
      if (!checker.machine.note(FindingKind::race, here, there)) return;
      checker.machine.findings.add(FindingKind::race, here, there,
                                   simt::join(access.label, access.write ? " writes " : " reads ", hex(address), " ('",
                                        allocation->label, "' + ", address - allocation->base, "), ", what,
                                        ", and nothing orders the two"));
    };
    bool unvalued = false;
    for_cells(*allocation, base, access.bytes, [&](Cell& cell, std::uint8_t mask, std::uintptr_t address) {
      for (int i = 0; i < 2; ++i) {
        if ((cell.written[i] & mask) != 0) expect(cell.writer[i], address, "which another writes");
        if (access.write && (cell.read[i] & mask) != 0) expect(cell.reader[i], address, "which another reads");
      }
      if (access.write) {
        cell.writer[0] = me;
        cell.written[0] = mask | (cell.written[0] & ~mask);
        cell.written[1] &= ~mask;
        cell.read[0] &= ~mask;
        cell.read[1] &= ~mask;
        cell.valued |= mask;
        cell.atomic = 0;
        return;
      }
      unvalued = unvalued || (cell.valued & mask) != mask;
      cell.reader[1] = me;
      cell.read[1] = mask;
      cell.read_only &= 1;
    });
    if (unvalued && !access.write && !allocation->initialised) {
      checker.machine.report(FindingKind::uninitialised, {access.label, token, -1, -1, nullptr},
                             simt::join(access.label, " reads ", access.bytes, " bytes at ", hex(access.base), " ('",
                                  allocation->label, "'), not all of which were ever written"));
    }
  }
  return token;
}

void Machine::poison(void* base, std::size_t bytes) {
  std::memset(base, 0xff, bytes);
  if (impl_->checker == nullptr) return;
  const HostTurn turn(*impl_->checker);
  const auto from = reinterpret_cast<std::uintptr_t>(base);
  for (Allocation* allocation : impl_->checker->overlapping(from, bytes)) {
    for_cells(*allocation, from, bytes, [](Cell& cell, std::uint8_t mask, std::uintptr_t) { cell.valued &= ~mask; });
  }
}

}  // namespace simt
