// Reads a JavaScript object field by field. A value of the wrong type or out of range is refused with INVALID_OPTION and
// the name of the field. Objects may be hostile: getters run once a field, what they return is copied before the next.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "addon/errors.hpp"

namespace splitwiser::addon {

// Largest integer that a JavaScript number holds exactly.
inline constexpr std::int64_t kMaxSafeInteger = (std::int64_t(1) << 53) - 1;
inline constexpr std::int64_t kMaxInt32 = 0x7fffffff;

template <typename Value>
using Words = std::initializer_list<std::pair<const char*, Value>>;

// Values on their own; `field` names them in messages.
[[nodiscard]] std::int64_t read_integer(const Napi::Value& value, const std::string& field, std::int64_t least,
                                        std::int64_t most);
[[nodiscard]] std::string read_text(const Napi::Value& value, const std::string& field);
[[nodiscard]] Napi::Function read_function(const Napi::Value& value, const std::string& field);

template <typename Value>
[[nodiscard]] Value read_word(const Napi::Value& value, const std::string& field, Words<Value> words) {
  if (value.IsString()) {
    const std::string came = value.As<Napi::String>().Utf8Value();
    for (const auto& [word, meaning] : words) {
      if (came == word) return meaning;
    }
  }
  std::string expected;
  for (const auto& [word, meaning] : words) {
    expected += (expected.empty() ? "\"" : " or \"") + std::string(word) + "\"";
  }
  refuse(field, expected, value);
}

class Fields {
 public:
  Fields(const Napi::Value& value, std::string path);

  [[nodiscard]] Napi::Env env() const { return object_.Env(); }
  [[nodiscard]] std::string path(const char* key) const { return path_ + "." + key; }
  [[nodiscard]] Napi::Value get(const char* key) const { return object_.Get(key); }

  [[nodiscard]] Fields object(const char* key) const { return {get(key), path(key)}; }
  [[nodiscard]] bool boolean(const char* key) const;
  [[nodiscard]] std::int64_t integer(const char* key, std::int64_t least, std::int64_t most) const {
    return read_integer(get(key), path(key), least, most);
  }
  // Finite, least to most, both included.
  [[nodiscard]] double number(const char* key, double least, double most) const;
  [[nodiscard]] std::uint64_t bigint(const char* key) const;
  [[nodiscard]] std::string text(const char* key) const { return read_text(get(key), path(key)); }

  // Int32Array, Uint32Array, Float32Array or Uint8Array, by the type of its elements; copied.
  template <typename Element>
  [[nodiscard]] std::vector<Element> elements(const char* key) const;

  template <typename Value>
  [[nodiscard]] Value word(const char* key, Words<Value> words) const {
    return read_word<Value>(get(key), path(key), words);
  }

  // Calls each(element, "path[i]") for an array's elements.
  template <typename Each>
  void list(const char* key, Each&& each) const {
    const Napi::Value value = get(key);
    if (!value.IsArray()) refuse(path(key), "an array", value);
    const auto array = value.As<Napi::Array>();
    const std::uint32_t length = array.Length();
    for (std::uint32_t i = 0; i < length; i++) {
      const Napi::HandleScope scope(env());
      each(array.Get(i), path(key) + "[" + std::to_string(i) + "]");
    }
  }

 private:
  Napi::Object object_;
  std::string path_;
};

}  // namespace splitwiser::addon
