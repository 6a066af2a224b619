// Fibers: a switch of a few instructions and stacks with a guard page. ucontext saves signal masks by a system call at
// each switch, which is a hundred times as long.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace simt {

inline constexpr std::size_t kStackBytes = 64 * 1024;  // the guard page included
inline constexpr std::size_t kMaxStacks = 24 * 1024;   // each takes two of the kernel's (by default 65,530) mappings

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

  // Appends `count` stacks (their lowest usable address); false, and none, where there are not so many.
  bool take(std::size_t count, std::vector<char*>& to);
  void give(std::vector<char*>& stacks);
  [[nodiscard]] bool available(std::size_t count) const { return free_.size() + kMaxStacks - made_ >= count; }
  [[nodiscard]] bool contains(const void* address) const {
    const auto offset = reinterpret_cast<std::uintptr_t>(address) - reinterpret_cast<std::uintptr_t>(base_);
    return offset < kStackBytes * kMaxStacks && base_ != nullptr;
  }

 private:
  char* base_ = nullptr;
  std::size_t made_ = 0;
  std::vector<char*> free_;
};

}  // namespace simt
