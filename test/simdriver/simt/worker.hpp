// An OS thread that executes blocks. Private to the machine.
#pragma once

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "simt/block.hpp"
#include "simt/fiber.hpp"
#include "simt/machine.hpp"
#include "simt/random.hpp"

namespace simt {

class Worker {
 public:
  Worker(Machine::Impl& machine, int index, std::uint64_t seed);
  ~Worker();

  void run();  // the OS thread's body

  // ---- for fibers ----
  // The running thread waits: goes on elsewhere, and returns when somebody made it ready.
  void wait_here(Thread& self);
  // The running thread may go on, but so may others.
  void give_way(Thread& self);
  // The same where the thread waits for something that another block does; counts towards the spin limit.
  void spin(Thread& self);
  // Leaves the running fiber for good.
  [[noreturn]] void leave();

  [[nodiscard]] std::string who_spins() const;
  void make_ready(Warp& warp, std::uint32_t lanes);
  Random random;
  Machine::Impl& machine;
  StackPool stacks;
  std::uint64_t spins = 0;       // since anything got on
  std::atomic<bool> attention = false;  // the loop should look at what is new

 private:
  friend struct Machine::Impl;
  void take_blocks();
  void start_block(Grid& grid, std::uint32_t index, int sm);
  void finish_block(Block& block);
  Thread* pick();
  void set_ready(Block& block);
  void set_unready(Block& block);
  void switch_to(Thread& self, Thread* next);
  static void*& stack_of(Thread& thread) { return thread.warp->stack_pointer[thread.lane]; }
  static void enter_fiber();

  int index_;
  void* scheduler_ = nullptr;        // the loop's saved stack pointer
  Warp* warp_ = nullptr;             // whose lanes run
  int turn_ = 0;                     // where the choice of the next lane begins
  std::uint32_t fuel_ = 1;           // lanes until the warp may change
  std::vector<Block*> ready_;        // blocks with ready warps
  std::vector<Block*> live_;
  std::vector<Block*> ended_;        // for the loop
  std::vector<std::unique_ptr<Block>> pool_;
  std::uint64_t progress_ = 0;       // the machine's, when this worker last looked
  std::uint32_t window_;             // live blocks at most
  std::thread thread_;
};

}  // namespace simt
