// A library for ptx_functions.py: launches the kernels of functions.cu on the simulated device's SIMT layer, without a driver.
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <string>

#include "simt/machine.hpp"

// Runs one grid to its end. Returns 0, or 1 with the reason in `message` (what failed, or what the machine found).
extern "C" int simt_host_run(const char* name, const void* params, std::uint32_t grid, std::uint32_t block,
                             std::uint32_t shared_bytes, std::uint64_t seed, char* message, std::size_t message_bytes) {
  const auto fail = [&](const std::string& why) {
    std::snprintf(message, message_bytes, "%s", why.c_str());
    return 1;
  };
  const simt::KernelEntry* kernel = simt::find_kernel(name);
  if (kernel == nullptr) return fail(std::string("no kernel is called ") + name);

  simt::Options options;
  options.sms = 2;
  options.seed = seed;
  options.mma = seed % 2 == 0 ? simt::MmaMode::truncated : simt::MmaMode::ordered;
  simt::Machine machine(options);

  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;
  simt::GridResult result;
  simt::GridLaunch launch;
  launch.kernel = kernel;
  const auto* bytes = static_cast<const std::byte*>(params);
  launch.params.assign(bytes, bytes + kernel->params_bytes);
  launch.grid = grid;
  launch.block = block;
  launch.shared_bytes = shared_bytes;
  launch.done = [&](const simt::GridResult& got) {
    const std::scoped_lock lock(mutex);
    result = got;
    done = true;
    changed.notify_one();
  };
  const simt::Token token = machine.start(std::move(launch));
  machine.wait(token);
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return done; });
  }
  if (result.status != simt::Status::ok) return fail(std::string(simt::name_of(result.status)) + ": " + result.message);
  if (machine.finding_count() > 0) return fail(machine.findings().front().format());
  return 0;
}
