// Initialisation, versions, entry points by name, error texts.
#include <cctype>
#include <cstring>
#include <map>

#include "errors.hpp"
#include "state.hpp"
#include "symbols.hpp"

using namespace simdriver;

extern "C" {

CUresult CUDAAPI cuInit(unsigned int flags) {
  return entry("cuInit", {.before_init = true, .after_loss = true}, [&](State& all, auto&) {
    if (flags != 0) return CUDA_ERROR_INVALID_VALUE;
    if (!settings().invalid.empty()) {
      std::fprintf(stderr, "simdriver: %s\n", settings().invalid.c_str());
      return CUDA_ERROR_INVALID_VALUE;
    }
    if (settings().no_device) return CUDA_ERROR_NO_DEVICE;
    machine();
    all.initialised = true;
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuDriverGetVersion(int* version) {
  return entry("cuDriverGetVersion", {.before_init = true, .after_loss = true}, [&](State&, auto&) {
    if (!version) return CUDA_ERROR_INVALID_VALUE;
    *version = settings().driver_version;
    return CUDA_SUCCESS;
  });
}

// A symbol that is missing, or newer than the version asked for, is not an error but a null pointer; asking for a version
// above the driver's is one (cuda.h, cuGetProcAddress).
CUresult CUDAAPI cuGetProcAddress(const char* symbol, void** to, int version, cuuint64_t flags,
                                  CUdriverProcAddressQueryResult* status) {
  return entry("cuGetProcAddress", {.before_init = true, .after_loss = true}, [&](State& all, auto&) {
    const auto answer = [&](CUdriverProcAddressQueryResult with) {
      if (status) *status = with;
    };
    if (!symbol || !to || flags > CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM) return CUDA_ERROR_INVALID_VALUE;
    *to = nullptr;
    answer(CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
    if (flags == CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM) {
      all.finding(std::string(symbol) + " was asked for with per-thread default streams, which nobody here should want");
    }
    if (version > settings().driver_version) {
      answer(CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT);
      return CUDA_ERROR_INVALID_VALUE;
    }
    const SymbolAnswer found = find_symbol(symbol, version, settings().driver_version);
    if (!found.known || settings().missing.count(symbol) != 0) return CUDA_SUCCESS;
    *to = found.address;
    answer(found.address ? CU_GET_PROC_ADDRESS_SUCCESS : CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT);
    return CUDA_SUCCESS;
  });
}

}  // extern "C"

namespace {

struct ErrorText {
  const char* name;
  std::string meaning;
};

const std::map<int, ErrorText>& error_texts() {
  static const auto* const kTexts = [] {
    auto* texts = new std::map<int, ErrorText>;
#define ADD(code) (*texts)[code] = {#code, {}};
    SIMDRIVER_ERRORS(ADD)
#undef ADD
    for (auto& [code, text] : *texts) {
      const char* from = text.name + (code == CUDA_SUCCESS ? std::strlen("CUDA_") : std::strlen("CUDA_ERROR_"));
      for (; *from; ++from) text.meaning += *from == '_' ? ' ' : char(std::tolower(static_cast<unsigned char>(*from)));
      text.meaning += " (simulated)";
    }
    return texts;
  }();
  return *kTexts;
}

template <class Pick>
CUresult error_text(const char* name, CUresult error, const char** to, Pick pick) {
  return entry(name, {.before_init = true, .after_loss = true}, [&](State&, auto&) {
    if (!to) return CUDA_ERROR_INVALID_VALUE;
    const auto found = error_texts().find(error);
    *to = found == error_texts().end() ? nullptr : pick(found->second);
    return *to ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  });
}

}  // namespace

extern "C" {

CUresult CUDAAPI cuGetErrorName(CUresult error, const char** to) {
  return error_text("cuGetErrorName", error, to, [](const ErrorText& text) { return text.name; });
}
CUresult CUDAAPI cuGetErrorString(CUresult error, const char** to) {
  return error_text("cuGetErrorString", error, to, [](const ErrorText& text) { return text.meaning.c_str(); });
}

}  // extern "C"
