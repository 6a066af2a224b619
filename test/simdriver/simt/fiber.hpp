// Fibers: a switch of a few instructions (ucontext saves signal masks by a system call at each, which is a hundred times
// as long) and stacks that lie close together in large pages: hundreds of fibers take turns, and with a page (or a guard
// page) for each, a switch costs 20 to 70 ns in address translation alone. So there are no guard pages; overflow is seen
// by low() at each wait and by a canary at the end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace simt {

// An odd number of 4 KiB pages, so that equal places of the stacks spread over the sets of the caches.
inline constexpr std::size_t kStackBytes = 5 * 4096;
inline constexpr std::size_t kInstrumentedStackBytes = 9 * 4096;
inline constexpr std::size_t kMaxStacks = 64 * 1024;
inline constexpr std::size_t kStackReserve = 1024;  // what calls below a kernel's own frame may need

// Saves the callee-saved registers and the stack pointer at *from and goes on where `to` was saved.
extern "C" void simt_switch(void** from, void* to);

// A stack pointer for simt_switch that begins at `entry`, which must not return. `top` is aligned to 16.
void* prepare_fiber(char* top, void (*entry)());

// One worker's stacks.
class StackPool {
 public:
  StackPool() = default;
  ~StackPool();
  StackPool(const StackPool&) = delete;
  StackPool& operator=(const StackPool&) = delete;

  // Appends `count` stacks (their lowest addresses); false, and none, where there are not so many.
  bool take(std::size_t count, std::vector<char*>& to);
  void give(std::vector<char*>& stacks);
  [[nodiscard]] bool available(std::size_t count) const { return free_.size() + kMaxStacks - made_ >= count; }
  [[nodiscard]] std::size_t stack_bytes() const { return stack_bytes_; }
  [[nodiscard]] bool contains(const void* address) const {
    return reinterpret_cast<std::uintptr_t>(address) - reinterpret_cast<std::uintptr_t>(base_) <
           stack_bytes_ * kMaxStacks;
  }
  // The lowest word of each stack holds it, until a frame goes over it.
  static constexpr std::uint64_t kCanary = 0x5afe57ac5afe57acu;

 private:
  char* mapping_ = nullptr;
  char* base_ = nullptr;  // aligned to a large page
  std::size_t stack_bytes_ = kStackBytes;
  std::size_t made_ = 0;
  std::vector<char*> free_;
};

}  // namespace simt
