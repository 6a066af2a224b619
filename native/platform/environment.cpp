#include "platform/environment.hpp"

#include <cstdlib>

namespace splitwiser {

std::optional<std::string> environment_value(EnvironmentVariable variable) {
  for (const EnvironmentEntry& entry : kEnvironment) {
    if (entry.variable != variable) continue;
    const char* value = std::getenv(entry.name);
    if (value == nullptr || *value == '\0') return std::nullopt;
    return std::string(value);
  }
  return std::nullopt;
}

}  // namespace splitwiser
