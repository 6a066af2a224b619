// Launches of kernels and host functions.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

#include "launch.hpp"

namespace simdriver {
namespace {

constexpr std::size_t kParameterLimit = 4096;
constexpr int kRegisters = 65536;

std::string number(std::uint64_t value) { return std::to_string(value); }

}  // namespace

CUresult make_launch(State& all, CUfunction handle, const LaunchShape& shape, void** parameters, void** extra,
                     const std::shared_ptr<Context>& context, bool capturing, Operation& to) {
  const auto kernel = all.kernel_of(handle);
  if (!kernel) {
    all.finding("a launch of something that is not a kernel");
    return CUDA_ERROR_INVALID_HANDLE;
  }
  const auto refuse = [&](CUresult with, const std::string& why) {
    all.finding("launch of " + kernel->name + ": " + why);
    return with;
  };
  if (const auto function = all.functions.find(handle); function && function->context != context) {
    return refuse(CUDA_ERROR_INVALID_HANDLE, "the function was loaded in another context than the stream's: launch the CUkernel");
  }
  const auto& [grid, block, shared] = shape;
  const KernelImage& image = kernel->image;
  const std::uint64_t threads = std::uint64_t(block[0]) * block[1] * block[2];
  if (grid[0] == 0 || grid[1] == 0 || grid[2] == 0) return refuse(CUDA_ERROR_INVALID_VALUE, "a grid dimension is 0");
  if (grid[0] > 0x7fffffffu) return refuse(CUDA_ERROR_INVALID_VALUE, "grid x is " + number(grid[0]) + ", at most 2147483647");
  if (grid[1] > 65535 || grid[2] > 65535) return refuse(CUDA_ERROR_INVALID_VALUE, "grid y or z is above 65535");
  if (threads == 0) return refuse(CUDA_ERROR_INVALID_VALUE, "a block dimension is 0");
  if (threads > 1024 || block[2] > 64) {
    return refuse(CUDA_ERROR_INVALID_VALUE, number(threads) + " threads a block, at most 1024");
  }
  if (threads > std::uint64_t(image.max_threads)) {
    return refuse(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, number(threads) + " threads a block, its launch bound is " +
                                                          number(std::uint64_t(image.max_threads)));
  }
  if (threads * std::uint64_t(image.registers) > kRegisters) {
    return refuse(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, number(std::uint64_t(image.registers)) + " registers x " + number(threads) +
                                                          " threads are above 65536");
  }
  if (shared > unsigned(kernel->dynamic_shared_limit)) {
    const std::string allowed = number(std::uint64_t(kernel->dynamic_shared_limit));
    return refuse(CUDA_ERROR_INVALID_VALUE,
                  number(shared) + " bytes of dynamic shared memory, " + allowed + " are allowed: opt in first");
  }
  const auto shared_most = unsigned(machine().limits().shared_bytes_per_block);
  if (shared + unsigned(image.shared_bytes) > shared_most) {
    return refuse(CUDA_ERROR_INVALID_VALUE, "more than " + number(shared_most) + " bytes of shared memory");
  }
  if (image.parameter_bytes > kParameterLimit) {
    return refuse(CUDA_ERROR_INVALID_VALUE, number(image.parameter_bytes) + " bytes of parameters, at most 4096");
  }
  if (grid[1] != 1 || grid[2] != 1 || block[1] != 1 || block[2] != 1) {
    return refuse(CUDA_ERROR_NOT_SUPPORTED, "the simulated device runs one-dimensional grids and blocks");
  }
  if (simt::occupancy(machine().limits(), int(threads), image.registers, int(shared) + image.shared_bytes) == 0) {
    return refuse(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "not one block fits a multiprocessor");
  }
  if (extra) return refuse(CUDA_ERROR_NOT_SUPPORTED, "parameters must be given by kernelParams, not by extra");
  if (image.parameter_bytes > 0 && (!parameters || !parameters[0])) return refuse(CUDA_ERROR_INVALID_VALUE, "no parameters");
  if (image.parameters.size() > 1) return refuse(CUDA_ERROR_NOT_SUPPORTED, "a kernel must have one parameter");
  if (!kernel->functions.count(context.get())) {
    if (capturing) all.finding("launch of " + kernel->name + " in a capture would load it: call cuKernelGetFunction at start");
    ++all.report.lazy_loads;
    auto& function = kernel->functions[context.get()];
    function = std::make_shared<Function>(Function{kernel, context});
    all.functions.add<CUfunction>(function);
  }
  to.kind = OperationKind::kernel;
  to.kernel = kernel;
  to.grid = grid[0];
  to.block = block[0];
  to.shared_bytes = shared;
  to.parameters.resize(image.parameter_bytes);
  if (image.parameter_bytes > 0) std::memcpy(to.parameters.data(), parameters[0], image.parameter_bytes);
  return CUDA_SUCCESS;
}

void stall(State& all, std::unique_lock<std::mutex>& lock) {
  const Settings& from = settings();
  if (from.stall_every == 0 || ++all.launches_for_stall % from.stall_every != 0) return;
  lock.unlock();
  std::this_thread::sleep_for(std::chrono::milliseconds(from.stall_ms));
  lock.lock();
}

}  // namespace simdriver

using namespace simdriver;

namespace {

constexpr CallRules kLaunch{.fail_class = "launch", .failure = CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES};

// What the launch attributes ask for.
struct Wishes {
  const int* priority = nullptr;
  bool programmatic = false;
};

// A launch that may begin before the kernel in front of it has ended must wait for it by itself. The permission is not taken
// here, since all our kernels wait first (test/cuda/static/kernels.slow.ts): what is looked at is whether it may be given.
void check_programmatic(State& all, Stream& stream, const Operation& operation) {
  const auto refuse = [&](const std::string& why) {
    all.finding("launch of " + operation.kernel->name + " beside the kernel before it: " + why);
  };
  if (settings().arch < 90) refuse("devices before compute capability 9.0 cannot do that");
  if (operation.kernel->image.ptx_arch < 90) refuse("its code is for sm_80 and does not wait by itself");
  bool behind_kernel = false;
  if (stream.capture) {
    const auto& frontier = stream.capture->frontier[&stream];
    behind_kernel = frontier.size() == 1 && frontier[0]->operation.kind == OperationKind::kernel;
  } else {
    behind_kernel = stream.tail && stream.tail->operation.kind == OperationKind::kernel;
  }
  if (!behind_kernel) refuse("what comes before it is no kernel");
}

CUresult launch(State& all, std::unique_lock<std::mutex>& lock, CUfunction handle, const LaunchShape& shape, CUstream to,
                void** parameters, void** extra, const Wishes& wishes) {
  stall(all, lock);
  if (all.lost != CUDA_SUCCESS) return all.lost;
  std::shared_ptr<Stream> stream;
  if (const CUresult result = all.resolve(to, stream); result != CUDA_SUCCESS) return result;
  Operation operation;
  const bool capturing = stream->capture != nullptr;
  const CUresult result = make_launch(all, handle, shape, parameters, extra, stream->context, capturing, operation);
  if (result != CUDA_SUCCESS) return result;
  operation.programmatic = wishes.programmatic;
  if (wishes.programmatic) check_programmatic(all, *stream, operation);
  if (!stream->capture) ++all.report.launches;
  return all.issue(stream, std::move(operation), wishes.priority ? std::clamp(*wishes.priority, -5, 0) : stream->priority);
}

}  // namespace

extern "C" {

CUresult CUDAAPI cuLaunchKernel(CUfunction kernel, unsigned int gx, unsigned int gy, unsigned int gz, unsigned int bx,
                                unsigned int by, unsigned int bz, unsigned int shared_bytes, CUstream stream,
                                void** parameters, void** extra) {
  return entry("cuLaunchKernel", kLaunch, [&](State& all, auto& lock) {
    return launch(all, lock, kernel, {{gx, gy, gz}, {bx, by, bz}, shared_bytes}, stream, parameters, extra, {});
  });
}

CUresult CUDAAPI cuLaunchKernelEx(const CUlaunchConfig* config, CUfunction kernel, void** parameters, void** extra) {
  return entry("cuLaunchKernelEx", kLaunch, [&](State& all, auto& lock) {
    if (!config || (config->numAttrs > 0 && !config->attrs)) return CUDA_ERROR_INVALID_VALUE;
    Wishes wishes;
    for (unsigned i = 0; i < config->numAttrs; ++i) {
      const CUlaunchAttribute& attribute = config->attrs[i];
      switch (attribute.id) {
        case CU_LAUNCH_ATTRIBUTE_IGNORE: break;
        case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION:
          wishes.programmatic = attribute.value.programmaticStreamSerializationAllowed != 0;
          break;
        case CU_LAUNCH_ATTRIBUTE_PRIORITY: wishes.priority = &attribute.value.priority; break;
        case CU_LAUNCH_ATTRIBUTE_COOPERATIVE:
          if (attribute.value.cooperative == 0) break;
          [[fallthrough]];
        default:
          all.finding("launch attribute " + std::to_string(int(attribute.id)) + " is not simulated");
          return CUDA_ERROR_NOT_SUPPORTED;
      }
    }
    const LaunchShape shape{{config->gridDimX, config->gridDimY, config->gridDimZ},
                            {config->blockDimX, config->blockDimY, config->blockDimZ},
                            config->sharedMemBytes};
    return launch(all, lock, kernel, shape, config->hStream, parameters, extra, wishes);
  });
}

CUresult CUDAAPI cuLaunchHostFunc(CUstream handle, CUhostFn function, void* data) {
  return entry("cuLaunchHostFunc", {}, [&](State& all, auto&) {
    std::shared_ptr<Stream> stream;
    if (const CUresult result = all.resolve(handle, stream); result != CUDA_SUCCESS) return result;
    if (!function) return CUDA_ERROR_INVALID_VALUE;
    Operation operation;
    operation.kind = OperationKind::host;
    operation.function = function;
    operation.data = data;
    return all.issue(stream, std::move(operation), stream->priority);
  });
}

}  // extern "C"
