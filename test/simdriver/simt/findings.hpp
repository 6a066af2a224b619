// What was found: kept once for each pair of places, counted always. Private to the machine.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include "simt/machine.hpp"

namespace simt {

struct RawPlace {
  const char* kernel = nullptr;  // a literal, or a kernel's name
  Token token = 0;
  std::int64_t block = -1, thread = -1;
  const void* site = nullptr;    // a return address in a kernel
};

class FindingLog {
 public:
  explicit FindingLog(std::size_t kept) : kept_(kept) {}

  // Counts; true where this one is new and wants its text.
  bool note(FindingKind kind, const RawPlace& here, const RawPlace& there);
  void add(FindingKind kind, const RawPlace& here, const RawPlace& there, std::string text);

  [[nodiscard]] std::vector<Finding> list() const;
  [[nodiscard]] std::uint64_t count() const;
  void clear();

 private:
  using Key = std::tuple<FindingKind, const void*, const void*, std::string_view, std::string_view>;
  struct Raw {
    FindingKind kind;
    RawPlace here, there;
    std::string text;
  };
  static Key key_of(FindingKind kind, const RawPlace& here, const RawPlace& there);

  mutable std::mutex mutex_;
  std::size_t kept_;
  std::uint64_t total_ = 0;
  std::map<Key, std::uint64_t> counts_;
  std::vector<Raw> raw_;
};

// file:line of the kernel source that a return address belongs to: the innermost inlined frame that is neither the
// machine's nor ptx.cuh's. Where there is no line table: symbol+offset.
[[nodiscard]] std::string resolve(const void* site);

}  // namespace simt
