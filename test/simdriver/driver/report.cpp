#include "report.hpp"

#include <algorithm>
#include <cstdio>
#include <tuple>

#include "json.hpp"
#include "state.hpp"

namespace simdriver {
namespace {

const char* name_of(ContextKind kind) {
  switch (kind) {
    case ContextKind::primary: return "primary";
    case ContextKind::plain: return "plain";
    case ContextKind::affinity: return "affinity";
    case ContextKind::green: return "green";
  }
  return "";
}

void sms(JsonWriter& to, const simt::SmSet& set) {
  to.begin('[');
  for (std::size_t i = 0; i < set.size(); ++i) {
    if (set[i]) to.value(std::uint64_t(i));
  }
  to.end(']');
}

void counts(JsonWriter& to, const std::map<std::string, std::uint64_t>& of) {
  to.begin('{');
  for (const auto& [name, count] : of) to.key(name).value(count);
  to.end('}');
}

void counters(JsonWriter& to, const simt::Counters& of, bool zeros = true) {
  to.begin('{');
#define FIELD(name) zeros || of.name != 0 ? void(to.key(#name).value(of.name)) : void()
  FIELD(launches), FIELD(blocks), FIELD(global_load_bytes), FIELD(global_store_bytes), FIELD(async_copy_bytes);
  FIELD(async_copies), FIELD(read_only_load_bytes), FIELD(global_load_requests), FIELD(global_store_requests);
  FIELD(global_load_sectors), FIELD(global_store_sectors), FIELD(unique_load_sectors), FIELD(unique_store_sectors);
  FIELD(shared_load_bytes), FIELD(shared_store_bytes), FIELD(shared_load_conflicts), FIELD(shared_store_conflicts);
  FIELD(async_copy_conflicts), FIELD(ldmatrix), FIELD(ldmatrix_conflicts), FIELD(mma), FIELD(barriers);
  FIELD(warp_syncs), FIELD(shuffles), FIELD(votes), FIELD(atomics), FIELD(fences);
#undef FIELD
  to.end('}');
}

}  // namespace

void Report::finding(const std::string& text) {
  ++finding_count_;
  ++findings_[text];
  if (settings().verbose) std::fprintf(stderr, "simdriver: %s\n", text.c_str());
}

void Report::grid(const Item& item, const simt::GridResult& result) {
  StreamCount& of = streams_[item.stream];
  ++(item.from_graph ? of.graph_kernels : of.kernels);
  if (trace_.size() >= settings().trace_limit) {
    ++trace_dropped_;
    return;
  }
  trace_.push_back({item.operation.kernel->name, item.stream, item.context->id, item.enqueued, result.first_tick, result.last_tick,
                    item.context->sms, result.sms_used, item.from_graph, item.operation.grid, item.operation.block,
                    item.operation.shared_bytes, result.counters});
}

void Report::copy(const Item& item) {
  const Operation& operation = item.operation;
  ++streams_[item.stream].copies;
  if (operation.kind == OperationKind::fill) {
    ++copies_["memset"];
    return;
  }
  ++copies_[!operation.from_device ? "h2d" : operation.to_device ? "d2d" : "d2h"];
  copies_["bytes"] += operation.bytes;
}

void Report::stream(const Stream& stream) {
  StreamCount& of = streams_[stream.id];
  of.context = stream.context->id;
  of.priority = stream.priority;
  of.flags = stream.flags;
}

void Report::context(const Context& context) { contexts_[context.id] = {name_of(context.kind), context.sms}; }

void Report::reset() {
  calls_.clear(), host_syncs_.clear(), copies_.clear(), findings_.clear(), trace_.clear();
  finding_count_ = trace_dropped_ = 0;
  launches = graph_launches = graph_nodes = programmatic_nodes = graph_instantiations = pageable_copies = lazy_loads = 0;
  spinning_waits = late_uploads = 0;
  for (auto& [id, of] : streams_) of.kernels = of.graph_kernels = of.copies = 0;
}

std::string Report::overlaps() const {
  struct Pair {
    std::uint64_t contexts[2];
    std::uint64_t grids = 0;
    bool disjoint = true;
  };
  std::map<std::pair<std::uint64_t, std::uint64_t>, Pair> pairs;
  auto grids = trace_;
  std::sort(grids.begin(), grids.end(), [](const Grid& a, const Grid& b) { return a.begin < b.begin; });
  std::vector<const Grid*> live;  // begun and not ended before the grid at hand
  for (const Grid& grid : grids) {
    std::erase_if(live, [&](const Grid* other) { return other->end <= grid.begin; });
    for (const Grid* other : live) {
      if (other->stream == grid.stream) continue;
      const Grid& a = other->stream < grid.stream ? *other : grid;
      const Grid& b = &a == other ? grid : *other;
      Pair& pair = pairs[{a.stream, b.stream}];
      pair.contexts[0] = a.context, pair.contexts[1] = b.context;
      ++pair.grids;
      pair.disjoint = pair.disjoint && (a.sms & b.sms).none();
    }
    live.push_back(&grid);
  }
  JsonWriter to;
  to.begin('[');
  for (const auto& [streams, pair] : pairs) {
    to.begin('{');
    to.key("streams").begin('[').value(streams.first).value(streams.second).end(']');
    to.key("contexts").begin('[').value(pair.contexts[0]).value(pair.contexts[1]).end(']');
    to.key("grids").value(pair.grids).key("disjoint_sms").boolean(pair.disjoint).end('}');
  }
  to.end(']');
  return to.text();
}

std::string Report::json(const State& state) const {
  const Settings& from = settings();
  JsonWriter to;
  to.begin('{');
  to.key("arch").value(std::uint64_t(from.arch)).key("sms").value(std::uint64_t(from.sms)).key("seed").value(from.seed);
  to.key("checked").boolean(simt::checked()).key("mps").boolean(from.mps);
  to.key("lost").value(std::uint64_t(state.lost)).key("lost_reason").string(state.lost_reason);
  to.key("findings").begin('[');
  for (const auto& [text, count] : findings_) {
    to.string(count == 1 ? text : text + " (" + std::to_string(count) + " times)");
  }
  for (const simt::Finding& finding : machine().findings()) to.string(finding.format());
  to.end(']').key("finding_count").value(finding_count_ + machine().finding_count());
  to.key("leaks").begin('[');
  for (const std::string& leak : state.leaks()) to.string(leak);
  to.end(']').key("calls");
  counts(to, calls_);
  to.key("host_syncs");
  counts(to, host_syncs_);
  to.key("launches").value(launches).key("graph_launches").value(graph_launches);
  to.key("graph_nodes").value(graph_nodes).key("programmatic_nodes").value(programmatic_nodes).key("graph_instantiations").value(graph_instantiations);
  to.key("device_allocations").value(state.memory.allocations());
  to.key("host_allocations").value(state.memory.host_allocations());
  to.key("memory_peak_bytes").value(state.memory.peak()).key("memory_used_bytes").value(state.memory.used());
  to.key("copies");
  counts(to, copies_);
  to.key("pageable_copies").value(pageable_copies).key("lazy_loads").value(lazy_loads);
  to.key("spinning_waits").value(spinning_waits).key("late_uploads").value(late_uploads);
  to.key("kernels").begin('{');
  for (const auto& [name, of] : machine().counters_by_kernel()) {
    to.key(name);
    counters(to, of);
  }
  to.end('}').key("streams").begin('[');
  for (const auto& [id, of] : streams_) {
    to.begin('{').key("id").value(id).key("context").value(of.context).key("priority").number(of.priority);
    to.key("flags").value(std::uint64_t(of.flags)).key("kernels").value(of.kernels);
    to.key("graph_kernels").value(of.graph_kernels).key("copies").value(of.copies).end('}');
  }
  to.end(']').key("contexts").begin('[');
  for (const auto& [id, of] : contexts_) {
    to.begin('{').key("id").value(id).key("kind").string(of.kind).key("sms");
    sms(to, of.sms);
    to.end('}');
  }
  to.end(']').key("trace").begin('[');
  for (const Grid& grid : trace_) {
    to.begin('{').key("kernel").string(grid.kernel).key("stream").value(grid.stream).key("context").value(grid.context);
    to.key("sms");
    sms(to, grid.sms);
    to.key("used");
    sms(to, grid.used);
    to.key("enqueued").value(grid.enqueued).key("begin").value(grid.begin).key("end").value(grid.end).key("graph").boolean(grid.graph);
    to.key("blocks").value(std::uint64_t(grid.blocks)).key("threads").value(std::uint64_t(grid.threads));
    to.key("shared_bytes").value(std::uint64_t(grid.shared_bytes));
    if (from.trace_counters) {
      to.key("counters");
      counters(to, grid.counters, false);
    }
    to.end('}');
  }
  to.end(']').key("trace_dropped").value(trace_dropped_).key("overlaps").raw(overlaps());
  to.end('}');
  return to.text() + "\n";
}

}  // namespace simdriver
