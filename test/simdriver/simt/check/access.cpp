// One access: where it lies, whether it may be there, and what it races with.
#include <algorithm>

#include "simt/check/checker.hpp"
#include "simt/text.hpp"

namespace simt {

namespace {

Token me_token(const Thread& self) { return self.warp->block->grid->token; }

struct Access {
  Thread& self;
  std::uintptr_t address;
  std::size_t bytes;
  AccessKind kind;
  const void* site;
  std::int32_t packed_site;
  bool atomic = false;

  [[nodiscard]] bool store() const { return kind == AccessKind::store; }
  [[nodiscard]] const char* verb() const {
    switch (kind) {
      case AccessKind::load: return atomic ? "atomically updates" : "reads";
      case AccessKind::store: return atomic ? "atomically updates" : "writes";
      case AccessKind::read_only_load: return "reads (.nc)";
      case AccessKind::async_load: return "reads (cp.async)";
      case AccessKind::ldmatrix: return "reads (ldmatrix)";
    }
    return "reads";
  }
};

[[noreturn]] void refuse(const Access& access, FindingKind kind, Status status, const std::string& text) {
  machine_of(access.self).report(kind, place_of(access.self, access.site), text);
  machine_of(access.self).fail(access.self, status, join(name_of(kind), ": ", text));
}

void report(const Access& access, FindingKind kind, const RawPlace& there, const std::string& where,
            const char* sentence) {
  Machine::Impl& machine = machine_of(access.self);
  const RawPlace here = place_of(access.self, access.site);
  if (machine.note(kind, here, there)) machine.findings.add(kind, here, there, join(access.verb(), " ", where, sentence));
}

std::string name_place(const Access& access, const Allocation* allocation) {
  if (allocation != nullptr) {
    return join(access.bytes, " bytes at '", allocation->label, "' + ", access.address - allocation->base);
  }
  const auto base = reinterpret_cast<std::uintptr_t>(access.self.block->shared);
  return join(access.bytes, " bytes at shared ", hex(access.address - base));
}

// The word's cell, against those who came before.
void check_cell(const Access& access, Cell& cell, std::uint8_t mask, const Allocation* allocation, const Record& me) {
  Checker& checker = checker_of(access.self);
  const bool tracked = allocation == nullptr || !allocation->initialised;
  const auto where = [&] { return name_place(access, allocation); };
  for (int i = 0; i < 2; ++i) {
    if ((cell.written[i] & mask) == 0) continue;
    const Record& writer = cell.writer[i];
    const bool both_atomic = access.atomic && (cell.atomic >> i & 1) != 0;
    if (!both_atomic && !is_before(writer, access.self)) {
      report(access, FindingKind::race, checker.place_of_record(writer), where(),
             ", which another writes, and nothing orders the two");
    }
    if (access.kind == AccessKind::read_only_load && allocation != nullptr &&
        checker.owner_of(writer.epoch).token == me_token(access.self)) {
      report(access, FindingKind::read_only_load, checker.place_of_record(writer), where(),
             ", which the same grid writes");
    }
  }
  if ((cell.pending & mask) != 0) {
    report(access, FindingKind::async_copy, checker.place_of_record(cell.writer[0]), where(),
           ", which a cp.async writes that was not waited for");
  }
  if (!access.store()) {
    if ((cell.valued & mask) != mask && tracked) {
      report(access, FindingKind::uninitialised, {}, where(), ", which nobody has written");
      cell.valued |= mask;  // once
    }
    if (access.atomic) return;
    // The first reader stays until it is ordered, the second place goes to whoever came last.
    int slot = 1;
    for (int i = 0; i < 2; ++i) {
      if (cell.read[i] != 0 && cell.reader[i].epoch == me.epoch && cell.reader[i].thread == me.thread) slot = 2 + i;
    }
    if (slot >= 2) {
      slot -= 2;
      cell.read[slot] |= mask;
    } else {
      if (cell.read[0] == 0 || is_before(cell.reader[0], access.self)) slot = 0;
      cell.read[slot] = mask;
    }
    cell.reader[slot] = me;
    const auto bit = static_cast<std::uint8_t>(1u << slot);
    cell.read_only = static_cast<std::uint8_t>(access.kind == AccessKind::read_only_load ? cell.read_only | bit
                                                                                         : cell.read_only & ~bit);
    return;
  }
  for (int i = 0; i < 2; ++i) {
    if ((cell.read[i] & mask) == 0) continue;
    if (!is_before(cell.reader[i], access.self)) {
      report(access, FindingKind::race, checker.place_of_record(cell.reader[i]), where(),
             ", which another reads, and nothing orders the two");
    }
    if ((cell.read_only >> i & 1) != 0 && checker.owner_of(cell.reader[i].epoch).token == me_token(access.self)) {
      report(access, FindingKind::read_only_load, checker.place_of_record(cell.reader[i]), where(),
             ", which the same grid reads by a .nc load");
    }
  }
  const auto keep = static_cast<std::uint8_t>(~mask);
  for (int i = 0; i < 2; ++i) {
    cell.written[i] &= keep;
    cell.read[i] &= keep;
  }
  // Where both places hold another's bytes still, the second is given up.
  const int slot = cell.written[0] == 0 ? 0 : 1;
  cell.writer[slot] = me;
  cell.written[slot] = mask;
  const auto bit = static_cast<std::uint8_t>(1u << slot);
  cell.atomic = static_cast<std::uint8_t>(access.atomic ? cell.atomic | bit : cell.atomic & ~bit);
  cell.valued |= mask;
  cell.pending &= keep;
}

void check_cells(const Access& access, Cell* cells, std::uintptr_t offset, const Allocation* allocation) {
  const CheckedBlock& block = checked_of(access.self);
  const Record me{block.epoch, static_cast<std::uint16_t>(access.self.index), block.threads[access.self.index].clock,
                  access.packed_site};
  const std::uintptr_t end = offset + access.bytes;
  for (std::uintptr_t at = offset; at < end;) {
    const std::uintptr_t word = at & ~std::uintptr_t{3};
    const std::uintptr_t next = std::min(end, word + 4);
    const auto mask = static_cast<std::uint8_t>(((1u << (next - word)) - 1) & ~((1u << (at - word)) - 1));
    check_cell(access, cells[word / 4], mask, allocation, me);
    at = next;
  }
}

Traffic traffic_of(const Access& access, bool shared) {
  if (shared) return access.store() ? Traffic::shared_store : Traffic::shared_load;
  return access.store() ? Traffic::global_store : Traffic::global_load;
}

// Neither the thread's own data nor shared memory: an allocation, or nothing that may be touched.
Allocation& expect_allocation(const Access& access) {
  Checker& checker = checker_of(access.self);
  Allocation* allocation = checker.find(access.address);
  if (allocation == nullptr) {
    if (const Allocation* freed = checker.freed_at(access.address)) {
      refuse(access, FindingKind::use_after_free, Status::illegal_address,
             join(access.verb(), " ", access.bytes, " bytes at '", freed->label, "' + ", access.address - freed->base,
                  ", which was freed"));
    }
    refuse(access, FindingKind::out_of_bounds, Status::illegal_address,
           join(access.verb(), " ", access.bytes, " bytes at ", hex(access.address), ", ",
                checker.describe(access.address)));
  }
  const std::uintptr_t offset = access.address - allocation->base;
  if (access.bytes > allocation->bytes - offset) {
    refuse(access, FindingKind::out_of_bounds, Status::illegal_address,
           join(access.verb(), " ", access.bytes, " bytes at '", allocation->label, "' + ", offset, " of ",
                allocation->bytes, " bytes"));
  }
  const Token token = me_token(access.self);
  auto& users = allocation->users;
  if (users.empty() || users.back() != token) {
    std::erase(users, token);
    users.push_back(token);
    if (users.size() > 64) users.erase(users.begin());
  }
  return *allocation;
}

bool own_data(const Access& access) {
  Block& block = *access.self.warp->block;
  if (block.worker->stacks.contains(reinterpret_cast<const void*>(access.address))) return true;
  const auto params = reinterpret_cast<std::uintptr_t>(block.grid->params.get());
  const bool constant = access.address - params < block.grid->launch.params.size() ||
                        checker_of(access.self).in_image(access.address);
  if (constant && access.store()) {
    refuse(access, FindingKind::out_of_bounds, Status::illegal_address,
           join("writes ", access.bytes, " bytes of parameters or of the program's own data"));
  }
  return constant;
}

void check(Access access, bool aligned) {
  Block& block = *access.self.warp->block;
  const auto shared = reinterpret_cast<std::uintptr_t>(block.shared);
  const std::uintptr_t offset = access.address - shared;
  const bool in_shared = offset < block.shared_bytes && access.bytes <= block.shared_bytes - offset;
  if (!in_shared && own_data(access)) return;
  if (aligned && (access.address & (access.bytes - 1)) != 0) {
    refuse(access, FindingKind::misaligned, Status::misaligned,
           join(access.verb(), " ", access.bytes, " bytes at ", hex(access.address), ": not a multiple of ",
                access.bytes));
  }
  if (in_shared) {
    check_cells(access, block.checked->shared.data(), offset, nullptr);
    // Rows of ldmatrix are counted where it is.
    if (access.kind != AccessKind::ldmatrix) {
      log_access(access.self, traffic_of(access, true), access.address, access.bytes, 0, access.packed_site);
    }
    return;
  }
  const auto storage = reinterpret_cast<std::uintptr_t>(block.shared_storage.data());
  if (access.address - storage < block.shared_storage.size()) {
    refuse(access, FindingKind::out_of_bounds, Status::illegal_address,
           join(access.verb(), " ", access.bytes, " bytes at shared ",
                static_cast<std::int64_t>(offset), " of ", block.shared_bytes, " bytes"));
  }
  Allocation& allocation = expect_allocation(access);
  check_cells(access, allocation.cells->data(), access.address - allocation.base, &allocation);
  log_access(access.self, traffic_of(access, false), access.address, access.bytes, allocation.id, access.packed_site);
}

}  // namespace

void check_access(Thread& self, const void* address, std::size_t bytes, AccessKind kind, const void* site) {
  check({self, reinterpret_cast<std::uintptr_t>(address), bytes, kind, site, checker_of(self).pack(site)},
        (bytes & (bytes - 1)) == 0 && kind != AccessKind::async_load);
}

void check_unaligned_access(Thread& self, const void* address, std::size_t bytes, bool store, const void* site) {
  check({self, reinterpret_cast<std::uintptr_t>(address), bytes, store ? AccessKind::store : AccessKind::load, site,
         checker_of(self).pack(site)},
        false);
}

void check_order_by_atomic(Thread& self, std::uintptr_t at, Order order);

void check_atomic(Thread& self, void* at, std::size_t bytes, Order order, const void* site) {
  const auto address = reinterpret_cast<std::uintptr_t>(at);
  // Order first: what this acquires is before its own access.
  check_order_by_atomic(self, address, order);
  const std::int32_t packed = checker_of(self).pack(site);
  check({self, address, bytes, AccessKind::load, site, packed, true}, true);
  check({self, address, bytes, AccessKind::store, site, packed, true}, true);
}

// ---- cp.async -----------------------------------------------------------------------------------

void check_async_issue(Thread& self, void* to, std::size_t bytes, const void* site) {
  Block& block = *self.warp->block;
  const std::int32_t packed = checker_of(self).pack(site);
  const auto address = reinterpret_cast<std::uintptr_t>(to);
  const std::uintptr_t offset = address - reinterpret_cast<std::uintptr_t>(block.shared);
  const Access access{self, address, bytes, AccessKind::store, site, packed};
  Cell* cells = block.checked->shared.data();
  check_cells(access, cells, offset, nullptr);
  for (std::uintptr_t word = offset / 4; word < (offset + bytes) / 4; ++word) cells[word].pending = 0xf;
  log_access(self, Traffic::async_store, address, bytes, 0, packed);
}

void check_async_arrival(Thread& self, void* to, std::size_t bytes, const void* site) {
  Block& block = *self.warp->block;
  const std::uintptr_t offset =
      reinterpret_cast<std::uintptr_t>(to) - reinterpret_cast<std::uintptr_t>(block.shared);
  Cell* cells = block.checked->shared.data();
  for (std::uintptr_t word = offset / 4; word < (offset + bytes) / 4; ++word) cells[word].pending = 0;
  // A write at the time of the wait: others see it after the next barrier.
  check_cells({self, reinterpret_cast<std::uintptr_t>(to), bytes, AccessKind::store, site, checker_of(self).pack(site)},
              cells, offset, nullptr);
}

}  // namespace simt
