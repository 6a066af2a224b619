#include "platform/environment.hpp"

#include <stdlib.h>  // setenv

namespace splitwiser {

std::optional<std::string> environment_value(EnvironmentVariable variable) {
  for (const EnvironmentEntry& entry : kEnvironment) {
    if (entry.variable != variable) continue;
    const char* value = ::getenv(entry.name);
    if (value == nullptr || *value == '\0') return std::nullopt;
    return std::string(value);
  }
  return std::nullopt;
}

bool set_environment_default(const char* name, const char* value) {
  if (::getenv(name) != nullptr) return false;
#if defined(_WIN32)
  return _putenv_s(name, value) == 0;
#else
  return ::setenv(name, value, 0) == 0;
#endif
}

}  // namespace splitwiser
