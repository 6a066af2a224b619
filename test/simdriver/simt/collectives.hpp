// How threads meet. Private to the machine.
#pragma once

#include "simt/block.hpp"
#include "simt/check.hpp"
#include "simt/machine_impl.hpp"
#include "simt/worker.hpp"

namespace simt {

// Finds or opens the gathering that this lane comes to; checks mask, instruction and place.
Gathering& come(Thread& self, std::uint32_t mask, Meeting meeting, std::uint8_t variant, bool aligned,
                const void* site);
void close(Warp& warp, Gathering& gathering);

// All lanes of `mask` meet; the last to come runs finish(lanes) for all and then everybody goes on, in any order.
template <typename Finish>
inline void meet(Thread& self, std::uint32_t mask, Meeting meeting, std::uint8_t variant, bool aligned,
                 const void* site, Finish&& finish) {
  Warp& warp = *self.warp;
  Worker& worker = *warp.block->worker;
  const std::uint32_t bit = 1u << self.lane;
  Gathering* first = &warp.gathering[0];
  const bool usual = warp.gatherings == 1 && first->mask == mask && first->meeting == meeting &&
                     first->variant == variant && first->site == site && (mask & bit) != 0 &&
                     (mask & warp.exited) == 0;
  Gathering& gathering = usual ? *first : come(self, mask, meeting, variant, aligned, site);
  gathering.arrived |= bit;
  if (gathering.arrived == (gathering.mask & warp.members & ~warp.exited)) {
    const std::uint32_t lanes = gathering.arrived;
    close(warp, gathering);
    if (instrumented && lanes == (warp.members & ~warp.exited)) check_warp_meets(warp);
    finish(lanes);
    worker.make_ready(warp, lanes & ~bit);
    if ((worker.random.next() & 0x30000u) == 0) worker.give_way(self);
    return;
  }
  self.at = meeting;
  self.at_mask = mask;
  self.at_site = site;
  worker.wait_here(self);
  self.at = Meeting::none;
}

void thread_ends(Thread& self);

// The running block can't go on: all its threads wait for each other.
[[noreturn]] void report_deadlock(Thread& self);
[[noreturn]] void report_stack(Thread& self);
// Live blocks wait for something that nobody is left to do.
[[noreturn]] void report_spinning(Thread& self);

}  // namespace simt
