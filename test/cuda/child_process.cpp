#include "child_process.hpp"

#include <dlfcn.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "backend/cuda/driver.hpp"

extern char** environ;

namespace splitwiser::cuda_test {
namespace {

std::vector<std::string> environment_with(const Settings& settings) {
  std::vector<std::string> lines;
  for (char** line = environ; *line != nullptr; line++) {
    const std::string text = *line;
    bool replaced = false;
    for (const auto& [name, value] : settings) replaced = replaced || text.starts_with(name + "=");
    if (!replaced) lines.push_back(text);
  }
  for (const auto& [name, value] : settings) lines.push_back(name + "=" + value);
  return lines;
}

}  // namespace

ChildResult run_child(const std::string& test, const Settings& settings) {
  std::array<char, 4096> path{};
  const ssize_t length = readlink("/proc/self/exe", path.data(), path.size() - 1);
  int ends[2];
  if (length <= 0 || pipe(ends) != 0) return {};
  std::vector<std::string> lines = environment_with(settings);
  std::vector<char*> variables;
  for (std::string& line : lines) variables.push_back(line.data());
  variables.push_back(nullptr);
  std::string name = test;
  std::array<char*, 3> arguments{path.data(), name.data(), nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
  posix_spawn_file_actions_addclose(&actions, ends[0]);
  pid_t child = 0;
  const int failed = posix_spawn(&child, path.data(), &actions, nullptr, arguments.data(), variables.data());
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  ChildResult result;
  std::array<char, 4096> piece{};
  for (ssize_t got; (got = read(ends[0], piece.data(), piece.size())) > 0;) {
    result.output.append(piece.data(), std::size_t(got));
  }
  close(ends[0]);
  int status = 0;
  if (failed == 0 && waitpid(child, &status, 0) == child && WIFEXITED(status)) result.status = WEXITSTATUS(status);
  return result;
}

void* simulator_function(const char* name) {
  static_cast<void>(cuda::driver());  // loads it
  const char* named = std::getenv("SPLITWISER_CUDA_LIBRARY");
  void* library = dlopen(named != nullptr && *named != '\0' ? named : "libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
  return library != nullptr ? dlsym(library, name) : nullptr;
}

bool simulated() { return simulator_function("simdriver_finding_count") != nullptr; }

}  // namespace splitwiser::cuda_test
