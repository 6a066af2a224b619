// The tests of the simulated driver: each case is a function that runs in a process of its own, with the settings
// (environment) that it names. The library is opened with dlopen, as users' programs do.
#pragma once

#include <dlfcn.h>

#include <cstdint>
#include <cstdio>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include <cuda.h>

#include "driver_kernels.hpp"

namespace simdriver_test {

struct Case {
  const char* name;
  void (*run)();
  std::vector<std::vector<std::pair<const char*, const char*>>> settings;  // the case runs once with each
};

// Registers a case at load.
struct Register {
  Register(const char* name, void (*run)(), std::vector<std::vector<std::pair<const char*, const char*>>> settings = {{}});
};

void* library();            // of the driver
const void* fatbin();       // driver_kernels.cu by nvcc
std::size_t fatbin_bytes();
void fail(const char* file, int line, const std::string& text);  // counts; the process ends with 1

std::string text_of(CUresult result);
int setting(const char* name);  // a number of the environment

bool checked();                 // the tier
unsigned long long findings();
std::string report();           // the JSON

// What most cases need: the primary context current, the kernels loaded, memory.
struct Device {
  CUcontext context = nullptr;
  CUlibrary library = nullptr;
  CUkernel scale = nullptr, meet = nullptr, wide = nullptr, trap = nullptr;
  Device();
};

CUstream new_stream(unsigned flags = CU_STREAM_NON_BLOCKING, int priority = 0);
CUdeviceptr new_memory(std::size_t bytes);
CUresult launch(CUkernel kernel, CUstream stream, void* params, unsigned grid = 2, unsigned block = 64, unsigned shared = 0);

}  // namespace simdriver_test

#define SIMDRIVER_TEXT2(name) #name
#define SIMDRIVER_TEXT(name) SIMDRIVER_TEXT2(name)
// An entry point of the library, in the variant that cuda.h means by its name.
#define CU(name) (reinterpret_cast<decltype(&name)>(dlsym(simdriver_test::library(), SIMDRIVER_TEXT(name))))

#define CHECK(condition)                                                        \
  do {                                                                          \
    if (!(condition)) simdriver_test::fail(__FILE__, __LINE__, #condition);     \
  } while (false)
#define EXPECT(call, expected)                                                                                \
  do {                                                                                                        \
    const CUresult got_ = (call);                                                                             \
    if (got_ != (expected)) {                                                                                 \
      simdriver_test::fail(__FILE__, __LINE__, #call " gave " + simdriver_test::text_of(got_) + ", expected " #expected); \
    }                                                                                                         \
  } while (false)
#define OK(call) EXPECT(call, CUDA_SUCCESS)
// The call adds at least one finding.
#define FINDS(call)                                                                            \
  do {                                                                                         \
    const auto before_ = simdriver_test::findings();                                           \
    call;                                                                                      \
    if (simdriver_test::findings() == before_) simdriver_test::fail(__FILE__, __LINE__, "no finding: " #call); \
  } while (false)

#define CASE(name, ...)                                                          \
  static void name();                                                            \
  static const simdriver_test::Register register_##name(#name, name __VA_OPT__(, ) __VA_ARGS__); \
  static void name()
