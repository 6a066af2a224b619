// A small test harness: TEST registers, CHECK* records, main.cpp prints TAP. Checks may be made from any thread.
//
//   TEST("a cancelled request frees its pages") {
//     CHECK(pool.free() == 4);
//     CHECK_EQ(pool.used(), 0);
//     CHECK_NEAR(sum, 1.0, 1e-6);
//     CHECK_THROWS_CODE(parse(bytes), ErrorCode::corrupt_file);
//   }
//
// A failed check is noted and the test goes on; REQUIRE ends the test.
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <exception>
#include <ranges>
#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/error.hpp"

namespace splitwiser::check {

struct Test {
  std::string name;
  const char* file;
  int line;
  void (*body)();
};

[[nodiscard]] std::vector<Test>& registry();
void record(bool passed, const char* file, int line, const std::string& message);

// Ends a test whose REQUIRE failed; the failure is noted already.
struct Stop {};

struct Registration {
  Registration(std::string name, const char* file, int line, void (*body)()) {
    registry().push_back({std::move(name), file, line, body});
  }
};

template <typename T>
concept Printable = requires(std::ostream& out, const T& value) { out << value; };

template <typename T>
void print(std::ostream& out, const T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    out << (value ? "true" : "false");
  } else if constexpr (std::is_enum_v<T>) {
    out << static_cast<long long>(value);
  } else if constexpr (std::is_same_v<T, char> || (std::is_integral_v<T> && sizeof(T) == 1)) {
    out << static_cast<int>(value);
  } else if constexpr (std::is_floating_point_v<T>) {
    out.precision(std::is_same_v<T, float> ? 9 : 17);
    out << value;
  } else if constexpr (Printable<T>) {
    out << value;
  } else if constexpr (std::ranges::input_range<const T>) {
    constexpr int kMost = 32;
    int count = 0;
    out << '[';
    for (const auto& item : value) {
      if (count == kMost) {
        out << ", ...";
        break;
      }
      out << (count++ == 0 ? "" : ", ");
      print(out, item);
    }
    out << ']';
  } else {
    out << "(a value of " << sizeof(T) << " bytes)";
  }
}

template <typename T>
[[nodiscard]] std::string text_of(const T& value) {
  std::ostringstream out;
  print(out, value);
  return out.str();
}

template <typename T>
concept PlainInteger = std::integral<T> && !std::same_as<T, bool> && !std::same_as<T, char> && !std::same_as<T, wchar_t> &&
                       !std::same_as<T, char8_t> && !std::same_as<T, char16_t> && !std::same_as<T, char32_t>;

template <typename A, typename B>
[[nodiscard]] bool equal(const A& a, const B& b) {
  if constexpr (PlainInteger<A> && PlainInteger<B>) {
    return std::cmp_equal(a, b);
  } else if constexpr (requires { { a == b } -> std::convertible_to<bool>; }) {
    return a == b;
  } else {
    return std::ranges::equal(a, b);  // spans have no ==
  }
}

template <typename A, typename B>
void check_equal(const A& a, const B& b, const char* a_text, const char* b_text, const char* file, int line) {
  const bool passed = equal(a, b);
  record(passed, file, line,
         passed ? std::string() : std::string(a_text) + " == " + b_text + ": " + text_of(a) + " is not " + text_of(b));
}

inline void check_near(double a, double b, double tolerance, const char* text, const char* file, int line) {
  // Written so that NaN fails; equal infinities pass.
  const bool passed = a == b || std::abs(a - b) <= tolerance;
  record(passed, file, line,
         passed ? std::string() : std::string(text) + ": " + text_of(a) + " is not within " + text_of(tolerance) + " of " + text_of(b));
}

template <typename Body>
void check_throws(Body&& body, ErrorCode code, const char* text, const char* file, int line) {
  std::string came = "nothing was thrown";
  bool passed = false;
  try {
    body();
  } catch (const Error& error) {
    passed = error.code() == code;
    came = "came " + std::string(name_of(error.code())) + " (" + error.what() + ")";
  } catch (const std::exception& error) {
    came = std::string("came another exception (") + error.what() + ")";
  }
  record(passed, file, line, passed ? std::string() : std::string(text) + ": expected " + std::string(name_of(code)) + ", " + came);
}

}  // namespace splitwiser::check

#define SPLITWISER_JOIN_(a, b) a##b
#define SPLITWISER_JOIN(a, b) SPLITWISER_JOIN_(a, b)

#define TEST(name)                                                                                                       \
  static void SPLITWISER_JOIN(test_body_, __LINE__)();                                                                   \
  static const ::splitwiser::check::Registration SPLITWISER_JOIN(test_registration_, __LINE__)(                          \
      name, __FILE__, __LINE__, &SPLITWISER_JOIN(test_body_, __LINE__));                                                 \
  static void SPLITWISER_JOIN(test_body_, __LINE__)()

#define CHECK(...) ::splitwiser::check::record(static_cast<bool>(__VA_ARGS__), __FILE__, __LINE__, #__VA_ARGS__)
#define CHECK_EQ(a, b) ::splitwiser::check::check_equal((a), (b), #a, #b, __FILE__, __LINE__)
#define CHECK_NEAR(a, b, tolerance) \
  ::splitwiser::check::check_near((a), (b), (tolerance), #a " ~ " #b, __FILE__, __LINE__)
#define CHECK_THROWS_CODE(expression, code)                                                                              \
  ::splitwiser::check::check_throws([&] { static_cast<void>(expression); }, (code), #expression, __FILE__, __LINE__)
#define REQUIRE(...)                                                                                                     \
  do {                                                                                                                   \
    const bool required_ = static_cast<bool>(__VA_ARGS__);                                                               \
    ::splitwiser::check::record(required_, __FILE__, __LINE__, #__VA_ARGS__);                                            \
    if (!required_) throw ::splitwiser::check::Stop{};                                                                   \
  } while (false)
