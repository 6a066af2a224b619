// The kernels of this program, loaded for one device, and the one place that launches them.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <vector>

#include "backend/cuda/device.hpp"
#include "launch.hpp"

namespace splitwiser::cuda {

// Where a kernel goes.
struct LaunchTarget {
  CUstream stream = nullptr;
  int quota_sms = 0;  // above 0: the grid is held to as many blocks as that many SMs can hold at once
  bool may_overlap = false;  // follows a kernel in a graph: may begin before that one's end where kernels wait by themselves
};

class KernelLibrary {
 public:
  // Loads all fatbins. Throws device_unavailable where this build has none or none of them runs on the device.
  explicit KernelLibrary(std::shared_ptr<const Device> device);
  ~KernelLibrary();
  KernelLibrary(const KernelLibrary&) = delete;
  KernelLibrary& operator=(const KernelLibrary&) = delete;

  // Loading is lazy: forces every kernel into `context`, so that none is loaded by a launch (perhaps inside a capture).
  void load_in(const Context& context) const;

  // Nothing for a plan whose grid is 0. The parameter struct must be the kernel's: its size is compared.
  template <typename Params>
  void launch(const LaunchTarget& target, const LaunchPlan& plan, const Params& params) const {
    static_assert(std::is_trivially_copyable_v<Params>);
    launch_bytes(target, plan, &params, sizeof(Params));
  }
  // The same for parameters whose type is not known any more.
  void launch_bytes(const LaunchTarget& target, const LaunchPlan& plan, const void* params, std::size_t bytes) const;

  [[nodiscard]] std::size_t size() const { return kernels_.size(); }

 private:
  struct Kernel {
    CUkernel handle;
    std::size_t param_bytes;
    int registers;
    bool waits;  // for the kernel before it, by itself: ptx::begin_kernel() of code for sm_90 and later
  };

  void add(CUlibrary library);
  [[nodiscard]] std::uint32_t grid_within(int quota_sms, const LaunchPlan& plan, const Kernel& kernel) const;

  std::shared_ptr<const Device> device_;
  std::vector<CUlibrary> libraries_;
  std::unordered_map<std::string_view, Kernel> kernels_;  // names live in the libraries
  int threads_per_sm_;
  int shared_per_sm_;
};

}  // namespace splitwiser::cuda
