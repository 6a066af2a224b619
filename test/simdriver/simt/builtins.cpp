// Built-in variables, plain loads of ptx.cuh.
#include <cstring>

#include "simt/collectives.hpp"
#include "simt/ptx_host.hpp"
#include "simt/text.hpp"

namespace simt {

uint3 thread_idx() { return current_view->thread_idx; }
uint3 block_idx() { return current_view->block->block_idx; }
dim3 block_dim() { return current_view->block->block_dim; }
dim3 grid_dim() { return current_view->block->grid_dim; }
char* shared_memory() { return current_view->block->shared; }

std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(static_cast<const char*>(pointer) - current_view->block->shared);
}

namespace {

template <typename T>
T load(const void* from, AccessKind kind, const void* site) {
  Thread& self = running();
  if ((reinterpret_cast<std::uintptr_t>(from) & (sizeof(T) - 1)) != 0) [[unlikely]] {
    machine_of(self).report(FindingKind::misaligned, place_of(self, site),
                            join("a load of ", sizeof(T), " bytes at ", hex(from)));
    machine_of(self).fail(self, Status::misaligned, "misaligned load");
  }
  if (instrumented) check_access(self, from, sizeof(T), kind, site);
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

}  // namespace

uint4 load_nc_16(const void* from) {
  running().warp->block->counters.read_only_load_bytes += 16;
  return load<uint4>(from, AccessKind::read_only_load, __builtin_return_address(0));
}

float load_cg(const float* from) {
  const void* site = __builtin_return_address(0);
  Thread& self = running();
  // Kernels poll with it: whoever is waited for must come to run.
  self.at_site = site;
  if ((self.warp->block->worker->random.next() >> 28) == 0) self.warp->block->worker->spin(self);
  return load<float>(from, AccessKind::load, site);
}

float4 load_cg_16(const float* from) {
  return load<float4>(from, AccessKind::load, __builtin_return_address(0));
}

}  // namespace simt
