#include "addon/errors.hpp"

#include <new>
#include <stdexcept>

namespace splitwiser::addon {
namespace {

constexpr std::size_t kShownCharacters = 40;

std::string shown(const Napi::Value& value) {
  switch (value.Type()) {
    case napi_undefined: return "undefined";
    case napi_null: return "null";
    case napi_boolean: return value.As<Napi::Boolean>().Value() ? "true" : "false";
    case napi_number: return value.ToString().Utf8Value();
    case napi_string: {
      // Only the beginning is copied: the string may be huge.
      char start[kShownCharacters + 1];
      std::size_t copied = 0;
      if (napi_get_value_string_utf8(value.Env(), value, start, sizeof start, &copied) != napi_ok) return "a string";
      std::string text = "\"";
      text.append(start, copied);
      // A character that would not have fitted whole was left out, so a cut text may be a little shorter than the room.
      text += copied + 4 > kShownCharacters ? "...\"" : "\"";
      return text;
    }
    case napi_symbol: return "a symbol";
    case napi_function: return "a function";
    case napi_bigint: return "a bigint";
    case napi_external: return "an external";
    case napi_object: break;
  }
  if (value.IsArray()) return "an array";
  return value.IsTypedArray() ? "a typed array of another kind" : "an object";
}

}  // namespace

Failure describe(const std::exception_ptr& thrown) noexcept {
  try {
    try {
      std::rethrow_exception(thrown);
    } catch (const Error& error) {
      return {error.code(), error.what()};
    } catch (const std::bad_alloc&) {
      return {ErrorCode::out_of_memory, "not enough memory for this call: free some, or ask for less"};
    } catch (const std::length_error&) {
      return {ErrorCode::out_of_memory, "this call needs more memory than any process can have: ask for less"};
    } catch (const std::exception& error) {
      return {ErrorCode::internal, error.what()};
    } catch (...) {
      return {ErrorCode::internal, "an exception of unknown type was thrown"};
    }
  } catch (...) {
    // No memory even for the words above; this message needs none.
    return {ErrorCode::out_of_memory, "out of memory"};
  }
}

Napi::Error to_js_error(Napi::Env env, const Failure& failure) {
  Napi::Error error = Napi::Error::New(env, failure.message);
  error.Set("code", Napi::String::New(env, std::string(name_of(failure.code))));
  return error;
}

void refuse(const std::string& field, const std::string& expected, const Napi::Value& got) {
  throw Error(ErrorCode::invalid_option, field + ": expected " + expected + ", got " + shown(got));
}

}  // namespace splitwiser::addon
