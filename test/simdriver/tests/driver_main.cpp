// driver_tests LIBRARY FATBIN [CASE]: runs all cases, or one. Ends with 1 if any failed.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

#include "driver_test.hpp"

namespace simdriver_test {
namespace {

std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}

constexpr unsigned kSeconds = 120;

void* g_library = nullptr;
std::string g_fatbin;
int g_failures = 0;

std::string read(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// In a process of its own; true if it passed.
bool run_alone(const char* self, const char* library_path, const char* fatbin_path, const Case& one, std::size_t variant) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(kSeconds);  // a case that waits for ever has failed
    setenv("SIMDRIVER_SPINS", "1000G", 1);  // kernels wait here for what the host does, however long that takes
    for (const auto& [name, value] : one.settings[variant]) setenv(name, value, 1);
    execl(self, self, library_path, fatbin_path, one.name, static_cast<char*>(nullptr));
    _exit(127);
  }
  int status = 0;
  waitpid(child, &status, 0);
  const bool passed = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  std::string with;
  for (const auto& [name, value] : one.settings[variant]) with += std::string(" ") + name + "=" + value;
  if (!passed) {
    std::printf("FAILED %s%s (%s %d)\n", one.name, with.c_str(), WIFSIGNALED(status) ? "signal" : "exit",
                WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
  }
  return passed;
}

}  // namespace

Register::Register(const char* name, void (*run)(), std::vector<std::vector<std::pair<const char*, const char*>>> settings) {
  cases().push_back({name, run, std::move(settings)});
}

void* library() { return g_library; }
const void* fatbin() { return g_fatbin.data(); }
std::size_t fatbin_bytes() { return g_fatbin.size(); }

void fail(const char* file, int line, const std::string& text) {
  std::printf("%s:%d: %s\n", file, line, text.c_str());
  ++g_failures;
}

std::string text_of(CUresult result) {
  const char* name = nullptr;
  CU(cuGetErrorName)(result, &name);
  return name ? name : std::to_string(int(result));
}

int setting(const char* name) {
  const char* text = std::getenv(name);
  return text ? std::atoi(text) : 0;
}

bool checked() { return reinterpret_cast<int (*)()>(dlsym(g_library, "simdriver_checked"))() != 0; }

unsigned long long findings() {
  return reinterpret_cast<unsigned long long (*)()>(dlsym(g_library, "simdriver_finding_count"))();
}

std::string report() {
  const std::string path = "/tmp/simdriver-report-" + std::to_string(getpid());
  const int result = reinterpret_cast<int (*)(const char*)>(dlsym(g_library, "simdriver_report"))(path.c_str());
  const std::string text = read(path.c_str());
  unlink(path.c_str());
  CHECK(result == 0);
  return text;
}

Device::Device() {
  OK(CU(cuInit)(0));
  OK(CU(cuDevicePrimaryCtxRetain)(&context, 0));
  OK(CU(cuCtxPushCurrent)(context));
  OK(CU(cuLibraryLoadData)(&library, fatbin(), nullptr, nullptr, 0, nullptr, nullptr, 0));
  OK(CU(cuLibraryGetKernel)(&scale, library, "driver_scale"));
  OK(CU(cuLibraryGetKernel)(&meet, library, "driver_meet"));
  OK(CU(cuLibraryGetKernel)(&wide, library, "driver_wide"));
  OK(CU(cuLibraryGetKernel)(&trap, library, "driver_trap"));
}

CUstream new_stream(unsigned flags, int priority) {
  CUstream stream = nullptr;
  OK(CU(cuStreamCreateWithPriority)(&stream, flags, priority));
  return stream;
}

CUdeviceptr new_memory(std::size_t bytes) {
  CUdeviceptr at = 0;
  OK(CU(cuMemAlloc)(&at, bytes));
  return at;
}

CUresult launch(CUkernel kernel, CUstream stream, void* params, unsigned grid, unsigned block, unsigned shared) {
  CUlaunchConfig config{};
  config.gridDimX = grid;
  config.blockDimX = block;
  config.gridDimY = config.gridDimZ = config.blockDimY = config.blockDimZ = 1;
  config.sharedMemBytes = shared;
  config.hStream = stream;
  void* list[] = {params};
  return CU(cuLaunchKernelEx)(&config, reinterpret_cast<CUfunction>(kernel), list, nullptr);
}

}  // namespace simdriver_test

int main(int count, char** arguments) {
  using namespace simdriver_test;
  if (count < 3) {
    std::printf("usage: driver_tests LIBRARY FATBIN [CASE]\n");
    return 2;
  }
  if (count > 3) {
    g_library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
    if (!g_library) {
      std::printf("%s\n", dlerror());
      return 2;
    }
    g_fatbin = read(arguments[2]);
    for (const Case& one : cases()) {
      if (std::strcmp(one.name, arguments[3]) == 0) one.run();
    }
    return g_failures == 0 ? 0 : 1;
  }
  int failed = 0, runs = 0;
  for (const Case& one : cases()) {
    for (std::size_t i = 0; i < one.settings.size(); ++i, ++runs) {
      if (!run_alone(arguments[0], arguments[1], arguments[2], one, i)) ++failed;
    }
  }
  std::printf("%d runs of %zu cases, %d failed\n", runs, cases().size(), failed);
  return failed == 0 ? 0 : 1;
}
