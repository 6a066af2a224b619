#include "simt/fiber.hpp"

#include <sys/mman.h>

#include <cstring>

#include "simt/check.hpp"

namespace simt {

#if defined(__x86_64__)

asm(R"(
  .text
  .p2align 5
  .globl simt_switch
  .hidden simt_switch
  .type simt_switch, @function
simt_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size simt_switch, .-simt_switch
)");

void* prepare_fiber(char* top, void (*entry)()) {
  auto* at = reinterpret_cast<std::uintptr_t*>(top);
  *--at = 0;  // where entry would return to; keeps the stack aligned as after a call
  *--at = reinterpret_cast<std::uintptr_t>(entry);
  for (int i = 0; i < 6; ++i) *--at = 0;
  return at;
}

#elif defined(__aarch64__)

asm(R"(
  .text
  .p2align 5
  .globl simt_switch
  .hidden simt_switch
  .type simt_switch, %function
simt_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
  .size simt_switch, .-simt_switch
)");

void* prepare_fiber(char* top, void (*entry)()) {
  char* at = top - 160;
  std::memset(at, 0, 160);
  const auto address = reinterpret_cast<std::uintptr_t>(entry);
  std::memcpy(at + 88, &address, sizeof address);  // x30
  return at;
}

#else
#error "the simulated device needs simt_switch for this architecture"
#endif

namespace {
constexpr std::size_t kLargePage = 2 * 1024 * 1024;
// Below the first stack: what overflows by less does no harm before it is seen.
constexpr std::size_t kSlack = 256 * 1024;
}

StackPool::~StackPool() {
  if (mapping_ != nullptr) munmap(mapping_, stack_bytes_ * kMaxStacks + kLargePage + kSlack);
}

bool StackPool::take(std::size_t count, std::vector<char*>& to) {
  if (mapping_ == nullptr) {
    stack_bytes_ = instrumented ? kInstrumentedStackBytes : kStackBytes;
    const std::size_t bytes = stack_bytes_ * kMaxStacks + kLargePage + kSlack;
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return false;
    mapping_ = static_cast<char*>(memory);
    const auto raw = reinterpret_cast<std::uintptr_t>(mapping_);
    base_ = mapping_ + (kLargePage - raw % kLargePage) % kLargePage + kSlack;
    static_cast<void>(madvise(mapping_, bytes, MADV_HUGEPAGE));  // refused: slower
  }
  if (!available(count)) return false;
  while (free_.size() < count) {
    char* stack = base_ + made_++ * stack_bytes_;
    std::memcpy(stack, &kCanary, sizeof kCanary);
    free_.push_back(stack);
  }
  to.insert(to.end(), free_.end() - static_cast<std::ptrdiff_t>(count), free_.end());
  free_.resize(free_.size() - count);
  return true;
}

void StackPool::give(std::vector<char*>& stacks) {
  free_.insert(free_.end(), stacks.rbegin(), stacks.rend());
  stacks.clear();
}

}  // namespace simt
