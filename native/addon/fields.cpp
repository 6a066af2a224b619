#include "addon/fields.hpp"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <type_traits>

namespace splitwiser::addon {
namespace {

template <typename Element>
constexpr napi_typedarray_type kArrayType = std::is_same_v<Element, std::int32_t>    ? napi_int32_array
                                            : std::is_same_v<Element, std::uint32_t> ? napi_uint32_array
                                            : std::is_same_v<Element, float>         ? napi_float32_array
                                                                                     : napi_uint8_array;

template <typename Element>
constexpr const char* kArrayName = std::is_same_v<Element, std::int32_t>    ? "an Int32Array"
                                   : std::is_same_v<Element, std::uint32_t> ? "a Uint32Array"
                                   : std::is_same_v<Element, float>         ? "a Float32Array"
                                                                            : "a Uint8Array";

// Shortest text of a bound, without a fraction where there is none.
std::string bound_text(double bound) {
  if (bound == std::floor(bound) && std::abs(bound) < 1e15) return std::to_string(std::int64_t(bound));
  char text[32];
  std::snprintf(text, sizeof text, "%g", bound);
  return text;
}

}  // namespace

std::int64_t read_integer(const Napi::Value& value, const std::string& field, std::int64_t least, std::int64_t most) {
  if (value.IsNumber()) {
    const double number = value.As<Napi::Number>().DoubleValue();
    // False for NaN and infinities.
    if (number >= double(least) && number <= double(most) && number == std::floor(number)) return std::int64_t(number);
  }
  refuse(field, "an integer from " + std::to_string(least) + " to " + std::to_string(most), value);
}

std::string read_text(const Napi::Value& value, const std::string& field) {
  if (!value.IsString()) refuse(field, "a string", value);
  return value.As<Napi::String>().Utf8Value();
}

Napi::Function read_function(const Napi::Value& value, const std::string& field) {
  if (!value.IsFunction()) refuse(field, "a function", value);
  return value.As<Napi::Function>();
}

Fields::Fields(const Napi::Value& value, std::string path) : path_(std::move(path)) {
  if (!value.IsObject()) refuse(path_, "an object", value);
  object_ = value.As<Napi::Object>();
}

bool Fields::boolean(const char* key) const {
  const Napi::Value value = get(key);
  if (!value.IsBoolean()) refuse(path(key), "true or false", value);
  return value.As<Napi::Boolean>().Value();
}

double Fields::number(const char* key, double least, double most) const {
  const Napi::Value value = get(key);
  if (value.IsNumber()) {
    const double number = value.As<Napi::Number>().DoubleValue();
    if (number >= least && number <= most) return number;
  }
  refuse(path(key), "a number from " + bound_text(least) + " to " + bound_text(most), value);
}

std::uint64_t Fields::bigint(const char* key) const {
  const Napi::Value value = get(key);
  if (value.IsBigInt()) {
    bool lossless = false;
    const std::uint64_t number = value.As<Napi::BigInt>().Uint64Value(&lossless);
    if (lossless) return number;
  }
  refuse(path(key), "a bigint from 0 to 2^64 - 1", value);
}

template <typename Element>
std::vector<Element> Fields::elements(const char* key) const {
  const Napi::Value value = get(key);
  if (!value.IsTypedArray()) refuse(path(key), kArrayName<Element>, value);
  // One call for type, length and address: nothing can move or detach the memory between them and the copy.
  napi_typedarray_type type = napi_uint8_array;
  std::size_t length = 0;
  void* data = nullptr;
  napi_value buffer = nullptr;
  const napi_status status = napi_get_typedarray_info(env(), value, &type, &length, &data, &buffer, nullptr);
  if (status != napi_ok) throw Napi::Error::New(env());
  if (type != kArrayType<Element>) refuse(path(key), kArrayName<Element>, value);
  bool detached = false;
  if (napi_is_detached_arraybuffer(env(), buffer, &detached) == napi_ok && detached) {
    throw Error(ErrorCode::invalid_option,
                path(key) + ": the array's memory was transferred away (detached): pass a copy of it");
  }
  std::vector<Element> elements(length);
  if (length != 0) std::memcpy(elements.data(), data, length * sizeof(Element));
  return elements;
}

template std::vector<std::int32_t> Fields::elements<std::int32_t>(const char* key) const;
template std::vector<std::uint32_t> Fields::elements<std::uint32_t>(const char* key) const;
template std::vector<float> Fields::elements<float>(const char* key) const;
template std::vector<std::uint8_t> Fields::elements<std::uint8_t>(const char* key) const;

}  // namespace splitwiser::addon
