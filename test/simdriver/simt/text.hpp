// Sentences for findings.
#pragma once

#include <cstdio>
#include <sstream>
#include <string>

namespace simt {

template <typename... Parts>
[[nodiscard]] std::string join(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}
[[nodiscard]] inline std::string hex(std::uint64_t value) {
  char buffer[24];
  std::snprintf(buffer, sizeof buffer, "0x%llx", static_cast<unsigned long long>(value));
  return buffer;
}
[[nodiscard]] inline std::string hex(const void* pointer) { return hex(reinterpret_cast<std::uintptr_t>(pointer)); }

}  // namespace simt
