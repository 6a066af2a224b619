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

void set_environment_default(const char* name, const char* value) {
#if defined(_WIN32)
  if (::getenv(name) == nullptr) _putenv_s(name, value);
#else
  ::setenv(name, value, 0);
#endif
}

}  // namespace splitwiser
