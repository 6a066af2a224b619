#include "simt/findings.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <sstream>
#include <unordered_map>

#include "simt/text.hpp"

namespace simt {

const char* name_of(FindingKind kind) {
  switch (kind) {
    case FindingKind::out_of_bounds: return "out of bounds";
    case FindingKind::use_after_free: return "use after free";
    case FindingKind::misaligned: return "misaligned";
    case FindingKind::uninitialised: return "uninitialised";
    case FindingKind::race: return "race";
    case FindingKind::read_only_load: return "read-only load of written memory";
    case FindingKind::async_copy: return "asynchronous copy";
    case FindingKind::divergence: return "divergence";
    case FindingKind::wrong_mask: return "wrong mask";
    case FindingKind::barrier: return "barrier";
    case FindingKind::deadlock: return "deadlock";
    case FindingKind::shared_overflow: return "shared memory overflow";
    case FindingKind::arithmetic: return "arithmetic";
    case FindingKind::other: return "other";
  }
  return "other";
}

FindingLog::Key FindingLog::key_of(FindingKind kind, const RawPlace& here, const RawPlace& there) {
  return {kind, here.site, there.site, here.kernel != nullptr ? here.kernel : "",
          there.kernel != nullptr ? there.kernel : ""};
}

bool FindingLog::note(FindingKind kind, const RawPlace& here, const RawPlace& there) {
  const std::lock_guard lock(mutex_);
  ++total_;
  const auto found = counts_.find(key_of(kind, here, there));
  if (found != counts_.end()) {
    ++found->second;
    return false;
  }
  if (raw_.size() >= kept_) return false;
  counts_.emplace(key_of(kind, here, there), 1);
  return true;
}

void FindingLog::add(FindingKind kind, const RawPlace& here, const RawPlace& there, std::string text) {
  const std::lock_guard lock(mutex_);
  raw_.push_back({kind, here, there, std::move(text)});
}

std::uint64_t FindingLog::count() const {
  const std::lock_guard lock(mutex_);
  return total_;
}

void FindingLog::clear() {
  const std::lock_guard lock(mutex_);
  total_ = 0;
  counts_.clear();
  raw_.clear();
}

std::vector<Finding> FindingLog::list() const {
  std::vector<Raw> raw;
  std::vector<std::uint64_t> counts;
  {
    const std::lock_guard lock(mutex_);
    raw = raw_;
    for (const Raw& one : raw_) counts.push_back(counts_.at(key_of(one.kind, one.here, one.there)));
  }
  const auto place = [](const RawPlace& from) {
    Place to;
    if (from.kernel != nullptr) to.kernel = from.kernel;
    to.token = from.token;
    to.block = from.block;
    to.thread = from.thread;
    if (from.site != nullptr) to.at = resolve(from.site);
    return to;
  };
  std::vector<Finding> list;
  for (std::size_t i = 0; i < raw.size(); ++i) {
    list.push_back({raw[i].kind, raw[i].text, place(raw[i].here), place(raw[i].there), counts[i]});
  }
  return list;
}

std::string Finding::format() const {
  const auto describe = [](const Place& place) {
    std::string text = place.kernel;
    if (place.block >= 0) text += join(" block ", place.block, " thread ", place.thread);
    if (!place.at.empty()) text += " at " + place.at;
    return text;
  };
  std::string text = join(name_of(kind), ": ", this->text, "\n  here: ", describe(here));
  if (!there.kernel.empty()) text += "\n  there: " + describe(there);
  if (count > 1) text += join("\n  ", count, " times");
  return text;
}

// ---- addresses ----------------------------------------------------------------------------------

namespace {

std::string symbol_and_offset(const Dl_info& info, const char* address) {
  const char* file = info.dli_fname != nullptr ? info.dli_fname : "?";
  const char* base = file + (std::string_view(file).rfind('/') + 1);  // npos + 1 is 0
  if (info.dli_sname != nullptr) {
    const auto offset = static_cast<std::uint64_t>(address - static_cast<const char*>(info.dli_saddr));
    return join(info.dli_sname, "+", hex(offset), " (", base, ")");
  }
  return join(base, "+", hex(static_cast<std::uint64_t>(address - static_cast<const char*>(info.dli_fbase))));
}

}  // namespace

std::string resolve(const void* site) {
  static std::mutex mutex;
  static std::unordered_map<const void*, std::string> known;
  const std::lock_guard lock(mutex);
  if (const auto found = known.find(site); found != known.end()) return found->second;

  const char* address = static_cast<const char*>(site) - 1;  // within the call
  Dl_info info{};
  if (dladdr(address, &info) == 0 || info.dli_fname == nullptr) return known[site] = hex(site);
  std::string answer = symbol_and_offset(info, address);
  // Position-independent images are at their base; an executable that is not has absolute addresses.
  const auto* image = static_cast<const unsigned char*>(info.dli_fbase);
  const bool relocatable = image[16] == 3;  // e_type ET_DYN
  const auto offset = relocatable ? address - static_cast<const char*>(info.dli_fbase)
                                  : static_cast<std::ptrdiff_t>(reinterpret_cast<std::uintptr_t>(address));
  const std::string command = 
      join("addr2line -i -e '", info.dli_fname, "' ", hex(static_cast<std::uint64_t>(offset)), " 2>/dev/null");
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), &pclose);
  if (pipe != nullptr) {
    std::array<char, 1024> line{};
    std::string first;
    while (fgets(line.data(), line.size(), pipe.get()) != nullptr) {
      std::string text(line.data());
      text.erase(text.find_last_not_of("\n ") + 1);
      if (text.starts_with("??") || text.ends_with(":?") || text.ends_with(":0")) continue;
      if (const auto note = text.find(" (disc"); note != std::string::npos) text.erase(note);
      if (first.empty()) first = text;
      if (text.find("/simt/") == std::string::npos && text.find("ptx.cuh") == std::string::npos) {
        first = text;
        break;
      }
    }
    if (!first.empty()) answer = first.substr(first.rfind('/') + 1);
  }
  return known[site] = answer;
}

}  // namespace simt
