// A shared library that is opened at run time, or is not there.
#pragma once

#include <string>

namespace splitwiser {

class DynamicLibrary {
 public:
  DynamicLibrary() = default;
  // Closed again unless opened; open() tells whether it could be.
  explicit DynamicLibrary(const std::string& file);
  ~DynamicLibrary();
  DynamicLibrary(DynamicLibrary&& other) noexcept;
  DynamicLibrary& operator=(DynamicLibrary&& other) noexcept;
  DynamicLibrary(const DynamicLibrary&) = delete;
  DynamicLibrary& operator=(const DynamicLibrary&) = delete;

  [[nodiscard]] bool open() const noexcept { return handle_ != nullptr; }
  // Why it could not be opened, in the system's words; empty when it is open.
  [[nodiscard]] const std::string& reason() const noexcept { return reason_; }
  // Null when the library has no such symbol.
  [[nodiscard]] void* symbol(const char* name) const noexcept;
  // Never closed from here on: for a library that has threads of its own.
  void keep() noexcept { kept_ = true; }

 private:
  void close() noexcept;

  void* handle_ = nullptr;
  std::string reason_;
  bool kept_ = false;
};

}  // namespace splitwiser
