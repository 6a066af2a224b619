#include "device_counters.hpp"

#include <dlfcn.h>

#include <cstdint>
#include <cstdlib>

#include "../simdriver/control.hpp"
#include "harness.hpp"

namespace splitwiser::cuda_test {
namespace {

// The backend has opened the library already; a real driver has no such symbols.
template <typename Function>
Function* find(const char* name) {
  const char* const named = std::getenv("SPLITWISER_CUDA_LIBRARY");
  static_cast<void>(gpu());
  static void* const library = dlopen(named != nullptr && *named != 0 ? named : "libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
  return library == nullptr ? nullptr : reinterpret_cast<Function*>(dlsym(library, name));
}

simt::Counters total(const std::string& kernel) {
  static auto* const ask = find<decltype(simdriver_kernel_counters)>("simdriver_kernel_counters");
  simt::Counters counters;
  if (ask == nullptr) throw Error(ErrorCode::internal, "this driver counts nothing");
  if (const int answer = ask(kernel.c_str(), &counters, sizeof counters); answer > 1) {
    throw Error(ErrorCode::internal, "the simulated driver has other counters than this test: build both anew");
  }
  return counters;
}

}  // namespace

CountingTier counting_tier() {
  static auto* const checked = find<decltype(simdriver_checked)>("simdriver_checked");
  return checked == nullptr ? CountingTier::real : checked() != 0 ? CountingTier::checked : CountingTier::fast;
}

simt::Counters count(const std::string& kernel, const std::function<void()>& work) {
  synchronize();
  const simt::Counters before = total(kernel);
  work();
  synchronize();
  simt::Counters after = total(kernel);
  static_assert(sizeof(simt::Counters) % sizeof(std::uint64_t) == 0);
  auto* number = reinterpret_cast<std::uint64_t*>(&after);
  const auto* less = reinterpret_cast<const std::uint64_t*>(&before);
  for (std::size_t i = 0; i < sizeof after / sizeof(std::uint64_t); i++) number[i] -= less[i];
  return after;
}

}  // namespace splitwiser::cuda_test
