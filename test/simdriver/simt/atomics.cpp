#include "simt/atomics.hpp"

#include <algorithm>

#include "simt/collectives.hpp"
#include "simt/text.hpp"

namespace simt {

namespace {

// Checks, counts, and lets others run first now and then: a loop around an atomic may wait for them.
template <typename T>
T* prepare(void* at, Order order, const void* site) {
  Thread& self = running();
  ++self.warp->block->counters.atomics;
  if ((reinterpret_cast<std::uintptr_t>(at) & (sizeof(T) - 1)) != 0) [[unlikely]] {
    machine_of(self).report(FindingKind::misaligned, place_of(self, site),
                            join("an atomic of ", sizeof(T), " bytes at ", hex(at)));
    machine_of(self).fail(self, Status::misaligned, "misaligned atomic");
  }
  Worker& worker = *self.warp->block->worker;
  self.at_site = site;
  if ((worker.random.next() >> 30) == 0) worker.spin(self);
  if (instrumented) check_atomic(self, at, sizeof(T), order, site);
  return static_cast<T*>(at);
}

template <typename T>
T apply(AtomicOp op, T old, T value) {
  using Signed = std::make_signed_t<T>;
  switch (op) {
    case AtomicOp::add: return old + value;
    case AtomicOp::min: return std::min(old, value);
    case AtomicOp::max: return std::max(old, value);
    case AtomicOp::min_signed: return static_cast<T>(std::min(static_cast<Signed>(old), static_cast<Signed>(value)));
    case AtomicOp::max_signed: return static_cast<T>(std::max(static_cast<Signed>(old), static_cast<Signed>(value)));
    case AtomicOp::bit_and: return old & value;
    case AtomicOp::bit_or: return old | value;
    case AtomicOp::bit_xor: return old ^ value;
    case AtomicOp::exchange: return value;
  }
  return value;
}

template <typename T>
T update(AtomicOp op, void* at, T value, Order order, const void* site) {
  T* to = prepare<T>(at, order, site);
  T old = __atomic_load_n(to, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(to, &old, apply(op, old, value), true, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
  }
  return old;
}

template <typename T>
T compare_and_swap(void* at, T expected, T value, const void* site) {
  T* to = prepare<T>(at, Order::relaxed, site);
  __atomic_compare_exchange_n(to, &expected, value, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
  return expected;
}

}  // namespace

std::uint32_t atomic_32(AtomicOp op, void* at, std::uint32_t value, Order order) {
  return update<std::uint32_t>(op, at, value, order, __builtin_return_address(0));
}
std::uint64_t atomic_64(AtomicOp op, void* at, std::uint64_t value, Order order) {
  return update<std::uint64_t>(op, at, value, order, __builtin_return_address(0));
}
std::uint32_t compare_and_swap_32(void* at, std::uint32_t expected, std::uint32_t value) {
  return compare_and_swap<std::uint32_t>(at, expected, value, __builtin_return_address(0));
}
std::uint64_t compare_and_swap_64(void* at, std::uint64_t expected, std::uint64_t value) {
  return compare_and_swap<std::uint64_t>(at, expected, value, __builtin_return_address(0));
}

void fence() {
  Thread& self = running();
  ++self.warp->block->counters.fences;
  if (instrumented) check_fence(self);
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void nanosleep() {
  Thread& self = running();
  self.at_site = __builtin_return_address(0);
  self.warp->block->worker->spin(self);
}

void trap() {
  Thread& self = running();
  machine_of(self).report(FindingKind::other, place_of(self, __builtin_return_address(0)), "__trap");
  machine_of(self).fail(self, Status::illegal_address, "__trap");
}

}  // namespace simt
