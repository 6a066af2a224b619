// What a run did, counted exactly, and its JSON:
//
// { "arch", "sms", "seed", "checked", "mps", "lost": error number or 0, "lost_reason",
//   "findings": [text], "finding_count", "leaks": [text] (at exit, or what is allocated at the time of the report),
//   "calls": {entry point: count}, "host_syncs": {entry point: count, those that had to wait or could},
//   "launches", "graph_launches", "graph_nodes" (run by them), "programmatic_nodes" (of these), "graph_instantiations",
//   "device_allocations", "host_allocations", "memory_peak_bytes", "memory_used_bytes",
//   "copies": {"h2d", "d2h", "d2d", "memset", "bytes"}, "pageable_copies", "lazy_loads", "spinning_waits", "late_uploads",
//   "kernels": {name: counters (simt/counters.hpp)},
//   "streams": [{"id", "context", "priority", "flags", "kernels", "graph_kernels", "copies"}],
//   "contexts": [{"id", "kind", "sms": [SM ids]}],
//   "trace": [{"kernel", "stream", "context", "sms": [SM ids it could use], "used": [...], "enqueued", "begin", "end"
//             (ticks of the machine), "graph", "blocks", "threads", "shared_bytes" (dynamic), "counters" (with
//             SIMDRIVER_TRACE_COUNTERS=1: those that are not 0)}], "trace_dropped",
//   "overlaps": [{"streams": [a, b], "contexts": [a, b], "grids": pairs in flight together, "disjoint_sms"}] }
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "simt/machine.hpp"

namespace simdriver {

struct Item;
struct State;
struct Stream;
struct Context;

class Report {
 public:
  void call(const char* name) { ++calls_[name]; }
  void host_sync(const char* name) { ++host_syncs_[name]; }
  void finding(const std::string& text);
  void grid(const Item& item, const simt::GridResult& result);
  void copy(const Item& item);
  void stream(const Stream& stream);
  void context(const Context& context);
  void reset();

  std::uint64_t launches = 0;
  std::uint64_t graph_launches = 0;
  std::uint64_t graph_nodes = 0;
  std::uint64_t programmatic_nodes = 0;  // of these, that may begin before the kernel in front of them has ended
  std::uint64_t graph_instantiations = 0;
  std::uint64_t pageable_copies = 0;
  std::uint64_t spinning_waits = 0;  // waits for which a core would have spun: no BLOCKING_SYNC
  std::uint64_t late_uploads = 0;    // graphs that were not uploaded before their first launch
  std::uint64_t lazy_loads = 0;      // kernels loaded by a launch, not by cuKernelGetFunction

  [[nodiscard]] std::uint64_t finding_count() const { return finding_count_; }
  [[nodiscard]] std::string json(const State& state) const;

 private:
  struct Grid {
    std::string kernel;
    std::uint64_t stream, context, enqueued, begin, end;
    simt::SmSet sms, used;
    bool graph;
    unsigned blocks, threads, shared_bytes;
    simt::Counters counters;
  };
  struct StreamCount {
    std::uint64_t context = 0;
    int priority = 0;
    unsigned flags = 0;
    std::uint64_t kernels = 0, graph_kernels = 0, copies = 0;
  };
  struct ContextNote {
    const char* kind;
    simt::SmSet sms;
  };

  std::string overlaps() const;

  std::map<std::string, std::uint64_t> calls_, host_syncs_, copies_;
  std::map<std::string, std::uint64_t> findings_;
  std::uint64_t finding_count_ = 0;
  std::map<std::uint64_t, StreamCount> streams_;
  std::map<std::uint64_t, ContextNote> contexts_;
  std::vector<Grid> trace_;
  std::uint64_t trace_dropped_ = 0;
};

}  // namespace simdriver
