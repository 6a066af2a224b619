// Every setting of the simulated driver: an environment variable, read once, at the first call.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

namespace simdriver {

struct Settings {
  // SIMDRIVER_ARCH: compute capability x 10: 80, 86, 89, 90, 100 or 120. Default: 90.
  int arch = 90;
  // SIMDRIVER_SMS: multiprocessors, 1 .. 192. Default: 16.
  int sms = 16;
  // SIMDRIVER_MEMORY: bytes of device memory, with an optional suffix K, M or G. Default: 2G.
  std::uint64_t memory_bytes = std::uint64_t(2) << 30;
  // SIMDRIVER_SEED: of every random order. Default: 1.
  std::uint64_t seed = 1;
  // SIMDRIVER_WORKERS: threads that run kernels; the checked tier uses one. Default: 2.
  int workers = 2;
  // SIMDRIVER_SPINS: simt::Options::spin_limit: turns of waiting threads, with nothing done meanwhile, that are a deadlock.
  std::uint64_t spin_limit = 2'000'000;
  // SIMDRIVER_MMA: sums of the tensor cores: "ordered" or "truncated" (simt::MmaMode). Default: ordered.
  bool mma_truncated = false;
  // SIMDRIVER_MMA_SEED: of the order of these sums alone, to compare bits under other orders of blocks, warps and lanes.
  // Default: 0, SIMDRIVER_SEED.
  std::uint64_t mma_seed = 0;
  // SIMDRIVER_MPS: 1 = this process is a client of an MPS server. Default: 0.
  bool mps = false;
  // SIMDRIVER_GREEN: 0 = green contexts are refused, as on MIG with too few SMs or on WSL. Default: 1.
  bool green = true;
  // SIMDRIVER_DRIVER_VERSION: what cuDriverGetVersion answers. Default: 13000.
  int driver_version = 13000;
  // SIMDRIVER_MISSING: entry points that this driver lacks, by base name, separated by commas. Default: none.
  std::set<std::string> missing;
  // SIMDRIVER_FAIL: "class:n,...": the n-th call (from 1) of a class fails. Classes:
  //   alloc (cuMemCreate, cuMemAlloc), host (pinned memory), load (cuLibraryLoadData), context (any kind), stream,
  //   event, copy, launch (kernels and graphs: CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES), graph (instantiation),
  //   lost (the n-th launch loses the device: CUDA_ERROR_ILLEGAL_ADDRESS from everything from then on),
  //   or the base name of any entry point (CUDA_ERROR_UNKNOWN). Default: none.
  std::map<std::string, std::uint64_t> fail;
  // SIMDRIVER_STALL: "n" or "n:milliseconds": every n-th launch blocks its caller (10 ms by default). Default: 0, none.
  std::uint64_t stall_every = 0;
  int stall_ms = 10;
  // SIMDRIVER_NO_DEVICE: 1 = cuInit answers CUDA_ERROR_NO_DEVICE. Default: 0.
  bool no_device = false;
  // SIMDRIVER_INITIALISED: 1 = another library of this process has called cuInit. Default: 0.
  bool initialised = false;
  // SIMDRIVER_REPORT: path of the JSON written at exit and by simdriver_report. Default: none.
  std::string report_path;
  // SIMDRIVER_TRACE: grids kept in the report's trace. Default: 20000.
  std::size_t trace_limit = 20000;
  // SIMDRIVER_TRACE_COUNTERS: 1 = each grid of the trace also has its own counters, those that are not 0. Default: 0.
  bool trace_counters = false;
  // SIMDRIVER_VERBOSE: 1 = findings are also printed on standard error as they come. Default: 0.
  bool verbose = false;

  std::string invalid;  // what could not be read: cuInit then answers CUDA_ERROR_INVALID_VALUE

  int major() const { return arch / 10; }
  int minor() const { return arch % 10; }
};

// The process's settings.
const Settings& settings();

// What an architecture offers (CUDA programming guide, compute capabilities; cuda-rules.md 3).
struct ArchLimits {
  int shared_per_block_optin;  // bytes, dynamic and static together
  int shared_per_sm;           // bytes
  int threads_per_sm;
  int blocks_per_sm;
  int min_partition;           // SMs of a green context, least
  int partition_step;          // and the step
};
const ArchLimits& arch_limits(int arch);

}  // namespace simdriver
