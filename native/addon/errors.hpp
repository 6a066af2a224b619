// Errors at the border: a C++ exception becomes a JavaScript Error with `code` and message.
#pragma once

#include <exception>
#include <string>

#include "addon/napi.hpp"
#include "engine/types.hpp"

namespace splitwiser::addon {

// What an exception means to a user: Error keeps its code, lack of memory is out_of_memory, the rest is internal.
[[nodiscard]] Failure describe(const std::exception_ptr& thrown) noexcept;

[[nodiscard]] Napi::Error to_js_error(Napi::Env env, const Failure& failure);

// Throws INVALID_OPTION: "<field>: expected <expected>, got <what came>". Runs no code of the caller's.
[[noreturn]] void refuse(const std::string& field, const std::string& expected, const Napi::Value& got);

// Runs the body of an entry point. JavaScript's own exceptions (a getter that throws) pass as they are.
template <typename Body>
auto guard(Napi::Env env, Body&& body) -> decltype(body()) {
  try {
    return body();
  } catch (const Napi::Error&) {
    throw;
  } catch (...) {
    throw to_js_error(env, describe(std::current_exception()));
  }
}

}  // namespace splitwiser::addon
