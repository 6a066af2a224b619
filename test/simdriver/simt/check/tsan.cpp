// What g++ -fsanitize=thread calls from instrumented objects (the kernels, and nothing else). We are not the sanitizer's
// runtime: its library is not linked.
#include "simt/check/checker.hpp"

namespace simt {

void check_unaligned_access(Thread& self, const void* address, std::size_t bytes, bool store, const void* site);

namespace {

constexpr std::uint32_t kPatience = 4096;  // accesses of a thread before others come to run: it may wait for them

void see(const void* address, std::size_t bytes, bool store, bool aligned, const void* site) {
  if (current_view == nullptr) return;  // a static object's constructor
  Thread& self = running();
  if (++self.accesses >= kPatience) {
    self.accesses = 0;
    self.at_site = site;
    self.warp->block->worker->spin(self);
  }
  if (aligned) check_access(self, address, bytes, store ? AccessKind::store : AccessKind::load, site);
  else check_unaligned_access(self, address, bytes, store, site);
}

}  // namespace
}  // namespace simt

// Hidden: the kernels of this image find them, and a program that has the sanitizer itself is left alone.
#pragma GCC visibility push(hidden)
extern "C" {

void __tsan_init() { simt::instrumented = true; }
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_ignore_thread_begin() {}
void __tsan_ignore_thread_end() {}
void __tsan_vptr_read(void**) {}
void __tsan_vptr_update(void**, void*) {}

#define SIMT_ACCESS(bytes)                                                                                 \
  void __tsan_read##bytes(void* at) { simt::see(at, bytes, false, true, __builtin_return_address(0)); }    \
  void __tsan_write##bytes(void* at) { simt::see(at, bytes, true, true, __builtin_return_address(0)); }    \
  void __tsan_volatile_read##bytes(void* at) { simt::see(at, bytes, false, true, __builtin_return_address(0)); } \
  void __tsan_volatile_write##bytes(void* at) { simt::see(at, bytes, true, true, __builtin_return_address(0)); }
SIMT_ACCESS(1)
SIMT_ACCESS(2)
SIMT_ACCESS(4)
SIMT_ACCESS(8)
SIMT_ACCESS(16)
#undef SIMT_ACCESS

// The type's alignment is less than its size: aligned for what it is.
#define SIMT_UNALIGNED(bytes)                                                                                        \
  void __tsan_unaligned_read##bytes(void* at) { simt::see(at, bytes, false, false, __builtin_return_address(0)); }   \
  void __tsan_unaligned_write##bytes(void* at) { simt::see(at, bytes, true, false, __builtin_return_address(0)); }
SIMT_UNALIGNED(2)
SIMT_UNALIGNED(4)
SIMT_UNALIGNED(8)
SIMT_UNALIGNED(16)
#undef SIMT_UNALIGNED

void __tsan_read_range(void* at, std::size_t bytes) { simt::see(at, bytes, false, false, __builtin_return_address(0)); }
void __tsan_write_range(void* at, std::size_t bytes) { simt::see(at, bytes, true, false, __builtin_return_address(0)); }

}  // extern "C"
#pragma GCC visibility pop
