#include "settings.hpp"

#include <cstdlib>
#include <sstream>
#include <vector>

namespace simdriver {
namespace {

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  std::stringstream stream(text);
  for (std::string part; std::getline(stream, part, at);) {
    if (!part.empty()) parts.push_back(part);
  }
  return parts;
}

class Reader {
 public:
  explicit Reader(Settings& to) : to_(to) {}

  template <class Number>
  void number(const char* name, Number& value, std::uint64_t least, std::uint64_t most) {
    const char* text = std::getenv(name);
    if (!text || !*text) return;
    const std::uint64_t read = parse(name, text);
    if (read < least || read > most) return complain(name, text);
    value = Number(read);
  }
  void flag(const char* name, bool& value) {
    int number_of = value ? 1 : 0;
    number(name, number_of, 0, 1);
    value = number_of != 0;
  }
  void failures(const char* name) {
    const char* text = std::getenv(name);
    if (!text) return;
    for (const std::string& part : split(text, ',')) {
      const auto colon = part.find(':');
      if (colon == std::string::npos) {
        complain(name, text);
      } else {
        to_.fail[part.substr(0, colon)] = parse(name, part.c_str() + colon + 1);
      }
    }
  }
  std::uint64_t parse(const char* name, const char* text) {
    char* end = nullptr;
    std::uint64_t value = std::strtoull(text, &end, 10);
    if (end == text) complain(name, text);
    if (*end == 'K') value <<= 10, ++end;
    else if (*end == 'M') value <<= 20, ++end;
    else if (*end == 'G') value <<= 30, ++end;
    if (*end) complain(name, text);
    return value;
  }
  void complain(const char* name, const char* text) {
    if (to_.invalid.find(name) != std::string::npos) return;
    to_.invalid += std::string(name) + "=" + text + " cannot be read; see test/simdriver/driver/settings.hpp. ";
  }

 private:
  Settings& to_;
};

Settings read() {
  Settings to;
  Reader reader(to);
  reader.number("SIMDRIVER_ARCH", to.arch, 70, 129);
  reader.number("SIMDRIVER_SMS", to.sms, 1, 192);
  reader.number("SIMDRIVER_MEMORY", to.memory_bytes, 1, ~std::uint64_t(0) >> 1);
  reader.number("SIMDRIVER_SEED", to.seed, 0, ~std::uint64_t(0));
  reader.number("SIMDRIVER_MMA_SEED", to.mma_seed, 0, ~std::uint64_t(0));
  reader.number("SIMDRIVER_WORKERS", to.workers, 1, 64);
  reader.number("SIMDRIVER_SPINS", to.spin_limit, 1, ~std::uint64_t(0) >> 1);
  if (const char* text = std::getenv("SIMDRIVER_MMA"); text && *text) {
    to.mma_truncated = std::string(text) == "truncated";
    if (!to.mma_truncated && std::string(text) != "ordered") reader.complain("SIMDRIVER_MMA", text);
  }
  reader.flag("SIMDRIVER_MPS", to.mps);
  reader.flag("SIMDRIVER_GREEN", to.green);
  reader.number("SIMDRIVER_DRIVER_VERSION", to.driver_version, 1000, 99999);
  if (const char* text = std::getenv("SIMDRIVER_MISSING")) {
    for (const std::string& name : split(text, ',')) to.missing.insert(name);
  }
  reader.failures("SIMDRIVER_FAIL");
  if (const char* text = std::getenv("SIMDRIVER_STALL"); text && *text) {
    const auto parts = split(text, ':');
    to.stall_every = reader.parse("SIMDRIVER_STALL", parts.at(0).c_str());
    if (parts.size() > 1) to.stall_ms = int(reader.parse("SIMDRIVER_STALL", parts[1].c_str()));
  }
  reader.flag("SIMDRIVER_NO_DEVICE", to.no_device);
  reader.flag("SIMDRIVER_INITIALISED", to.initialised);
  if (const char* text = std::getenv("SIMDRIVER_REPORT")) to.report_path = text;
  reader.number("SIMDRIVER_TRACE", to.trace_limit, 0, 100'000'000);
  reader.flag("SIMDRIVER_TRACE_COUNTERS", to.trace_counters);
  reader.flag("SIMDRIVER_VERBOSE", to.verbose);
  return to;
}

}  // namespace

const Settings& settings() {
  static const Settings* const kSettings = new Settings(read());
  return *kSettings;
}

const ArchLimits& arch_limits(int arch) {
  static constexpr ArchLimits kVolta{96 * 1024, 96 * 1024, 2048, 32, 2, 2};
  static constexpr ArchLimits kAmpere{163 * 1024, 164 * 1024, 2048, 32, 4, 2};
  static constexpr ArchLimits kAmpereSmall{99 * 1024, 100 * 1024, 1536, 16, 4, 2};
  static constexpr ArchLimits kAda{99 * 1024, 100 * 1024, 1536, 24, 4, 2};
  static constexpr ArchLimits kHopper{227 * 1024, 228 * 1024, 2048, 32, 8, 8};
  static constexpr ArchLimits kBlackwellSmall{99 * 1024, 100 * 1024, 1536, 24, 8, 8};
  if (arch < 80) return kVolta;
  if (arch == 80) return kAmpere;
  if (arch == 86 || arch == 87) return kAmpereSmall;
  if (arch < 90) return kAda;
  if (arch < 120) return kHopper;
  return kBlackwellSmall;
}

}  // namespace simdriver
