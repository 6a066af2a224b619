#include "device.hpp"

#include "settings.hpp"

namespace simdriver {

simt::Machine& machine() {
  // Never destroyed: its workers may be running a grid when the process ends.
  static simt::Machine* const kMachine = [] {
    const Settings& from = settings();
    simt::Options options;
    options.sms = from.sms;
    options.arch = from.arch;
    options.seed = from.seed;
    options.mma_seed = from.mma_seed;
    options.workers = from.workers;
    options.spin_limit = from.spin_limit;
    options.mma = from.mma_truncated ? simt::MmaMode::truncated : simt::MmaMode::ordered;
    return new simt::Machine(options);
  }();
  return *kMachine;
}

CUresult error_of(simt::Status status) {
  switch (status) {
    case simt::Status::ok: return CUDA_SUCCESS;
    case simt::Status::illegal_address: return CUDA_ERROR_ILLEGAL_ADDRESS;
    case simt::Status::misaligned: return CUDA_ERROR_MISALIGNED_ADDRESS;
    case simt::Status::deadlock: return CUDA_ERROR_LAUNCH_TIMEOUT;
    case simt::Status::aborted: return CUDA_ERROR_LAUNCH_FAILED;
  }
  return CUDA_ERROR_UNKNOWN;
}

}  // namespace simdriver
