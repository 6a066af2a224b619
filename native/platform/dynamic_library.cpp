#include "platform/dynamic_library.hpp"

#include <utility>

#if defined(__unix__) || defined(__APPLE__)
#include <dlfcn.h>
#define SPLITWISER_HAS_DLOPEN 1
#endif

namespace splitwiser {

#if defined(SPLITWISER_HAS_DLOPEN)

DynamicLibrary::DynamicLibrary(const std::string& file) : handle_(::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL)) {
  if (handle_ != nullptr) return;
  const char* text = ::dlerror();
  reason_ = text != nullptr ? text : "the system gave no reason";
}

void* DynamicLibrary::symbol(const char* name) const noexcept {
  return handle_ != nullptr ? ::dlsym(handle_, name) : nullptr;
}

void DynamicLibrary::close() noexcept {
  if (handle_ != nullptr && !kept_) ::dlclose(handle_);
  handle_ = nullptr;
}

#else

DynamicLibrary::DynamicLibrary(const std::string&) : reason_("libraries cannot be opened at run time on this system") {}
void* DynamicLibrary::symbol(const char*) const noexcept { return nullptr; }
void DynamicLibrary::close() noexcept { handle_ = nullptr; }

#endif

DynamicLibrary::~DynamicLibrary() { close(); }

DynamicLibrary::DynamicLibrary(DynamicLibrary&& other) noexcept
    : handle_(std::exchange(other.handle_, nullptr)), reason_(std::move(other.reason_)), kept_(other.kept_) {}

DynamicLibrary& DynamicLibrary::operator=(DynamicLibrary&& other) noexcept {
  if (this != &other) {
    close();
    handle_ = std::exchange(other.handle_, nullptr);
    reason_ = std::move(other.reason_);
    kept_ = other.kept_;
  }
  return *this;
}

}  // namespace splitwiser
