// Runs the registered tests and prints TAP. Arguments: substrings; a test runs when its name holds one of them. --list prints names;
// --part=I/N runs every N-th of them from the I-th on (from 0), for several processes at once.
#include <atomic>
#include <cstdio>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "check.hpp"

namespace splitwiser::check {
namespace {

struct Failures {
  std::mutex mutex;
  std::vector<std::string> messages;
  std::atomic<long> checks{0};
};

Failures& failures() {
  static Failures instance;
  return instance;
}

// The part of a path that a reader needs: from "test/" on.
std::string_view short_path(std::string_view path) {
  const std::size_t at = path.rfind("test/native/");
  return at == std::string_view::npos ? path : path.substr(at);
}

bool wanted(const std::string& name, const std::vector<std::string_view>& filters) {
  if (filters.empty()) return true;
  for (const std::string_view filter : filters) {
    if (name.find(filter) != std::string::npos) return true;
  }
  return false;
}

void run_body(const Test& test) {
  try {
    test.body();
  } catch (const Stop&) {
    // noted by REQUIRE
  } catch (const Error& error) {
    record(false, test.file, test.line, "uncaught " + std::string(name_of(error.code())) + ": " + error.what());
  } catch (const std::exception& error) {
    record(false, test.file, test.line, std::string("uncaught exception: ") + error.what());
  } catch (...) {
    record(false, test.file, test.line, "uncaught exception of an unknown type");
  }
}

int run_all(const std::vector<const Test*>& tests) {
  std::printf("TAP version 14\n1..%zu\n", tests.size());
  int failed = 0;
  int number = 0;
  for (const Test* test : tests) {
    failures().messages.clear();
    failures().checks = 0;
    run_body(*test);
    // A test that checks nothing proves nothing.
    if (failures().checks == 0) record(false, test->file, test->line, "the test made no check");
    const bool passed = failures().messages.empty();
    failed += passed ? 0 : 1;
    std::printf("%sok %d - %s\n", passed ? "" : "not ", ++number, test->name.c_str());
    for (const std::string& message : failures().messages) std::printf("  # %s\n", message.c_str());
    std::fflush(stdout);
  }
  return failed;
}

}  // namespace

std::vector<Test>& registry() {
  static std::vector<Test> instance;
  return instance;
}

void record(bool passed, const char* file, int line, const std::string& message) {
  constexpr std::size_t kMost = 20;  // of one test; a loop that fails everywhere would drown the first cause
  Failures& all = failures();
  ++all.checks;
  if (passed) return;
  const std::scoped_lock lock(all.mutex);
  if (all.messages.size() == kMost) all.messages.push_back("further failures are left out");
  if (all.messages.size() > kMost) return;
  all.messages.push_back(std::string(short_path(file)) + ":" + std::to_string(line) + ": " + message);
}

}  // namespace splitwiser::check

int main(int argc, char** argv) {
  using namespace splitwiser::check;
  bool list = false;
  unsigned part = 0;
  unsigned parts = 1;
  std::vector<std::string_view> filters;
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) == "--list") {
      list = true;
    } else if (std::sscanf(argv[i], "--part=%u/%u", &part, &parts) == 2) {
      if (part >= parts) {
        std::fprintf(stderr, "--part=I/N: I is 0 to N - 1\n");
        return 2;
      }
    } else {
      filters.emplace_back(argv[i]);
    }
  }
  std::vector<const Test*> tests;
  unsigned number = 0;
  for (const Test& test : registry()) {
    if (wanted(test.name, filters) && number++ % parts == part) tests.push_back(&test);
  }
  if (tests.empty() && number > 0) return std::printf("TAP version 14\n1..0\n") > 0 ? 0 : 1;
  if (list) {
    for (const Test* test : tests) std::printf("%s\n", test->name.c_str());
    return 0;
  }
  if (tests.empty()) {
    std::fprintf(stderr, "No test has a name with that text in it; --list shows them all.\n");
    return 2;
  }
  return run_all(tests) == 0 ? 0 : 1;
}
