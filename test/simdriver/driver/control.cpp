// The extra exports, and the report at exit.
#include "control.hpp"

#include <cstdio>
#include <cstring>

#include "state.hpp"

using namespace simdriver;

namespace {

int write(State& all, const std::string& path) {
  std::string text;
  {
    const std::lock_guard lock(all.mutex);
    text = all.report.json(all);
  }
  std::FILE* const file = std::fopen(path.c_str(), "w");
  if (!file) return 2;
  const bool whole = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  return std::fclose(file) == 0 && whole ? 0 : 2;
}

__attribute__((destructor)) void at_exit() {
  if (State* const all = state_if_any(); all && !settings().report_path.empty()) write(*all, settings().report_path);
}

}  // namespace

extern "C" {

int simdriver_report(const char* path) {
  State* const all = state_if_any();
  if (!all) return 3;
  const std::string to = path ? path : settings().report_path;
  return to.empty() ? 1 : write(*all, to);
}

void simdriver_reset_counters() {
  const std::lock_guard lock(state().mutex);
  state().report.reset();
  state().memory.reset_counts();
  machine().clear_findings();
  machine().clear_counters();
}

int simdriver_kernel_counters(const char* kernel, void* to, unsigned long long bytes) {
  if (!state_if_any()) return 3;
  if (bytes != sizeof(simt::Counters)) return 2;
  for (const auto& [name, counters] : machine().counters_by_kernel()) {
    if (name != kernel) continue;
    std::memcpy(to, &counters, sizeof counters);
    return 0;
  }
  return 1;
}

unsigned long long simdriver_finding_count() {
  const std::lock_guard lock(state().mutex);
  return state().report.finding_count() + machine().finding_count();
}

void simdriver_lose_device() {
  const std::lock_guard lock(state().mutex);
  state().lose_device(CUDA_ERROR_ILLEGAL_ADDRESS, "simdriver_lose_device was called");
}

int simdriver_checked() { return simt::checked() ? 1 : 0; }

}  // extern "C"
