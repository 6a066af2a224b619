// The one exception of native code. The addon turns it into a SplitwiserError with the same code.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace splitwiser {

// The closed union of lib/errors.ts; the names are the strings that JavaScript sees.
enum class ErrorCode {
  invalid_option,
  model_not_found,
  unsupported_model,
  corrupt_file,
  out_of_memory,
  prompt_too_long,
  device_unavailable,
  device_lost,
  aborted,
  deadline,
  disposed,
  internal,
};

[[nodiscard]] constexpr std::string_view name_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_option: return "INVALID_OPTION";
    case ErrorCode::model_not_found: return "MODEL_NOT_FOUND";
    case ErrorCode::unsupported_model: return "UNSUPPORTED_MODEL";
    case ErrorCode::corrupt_file: return "CORRUPT_FILE";
    case ErrorCode::out_of_memory: return "OUT_OF_MEMORY";
    case ErrorCode::prompt_too_long: return "PROMPT_TOO_LONG";
    case ErrorCode::device_unavailable: return "DEVICE_UNAVAILABLE";
    case ErrorCode::device_lost: return "DEVICE_LOST";
    case ErrorCode::aborted: return "ABORTED";
    case ErrorCode::deadline: return "DEADLINE";
    case ErrorCode::disposed: return "DISPOSED";
    case ErrorCode::internal: return "INTERNAL";
  }
  return "INTERNAL";
}

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  [[nodiscard]] ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace splitwiser
