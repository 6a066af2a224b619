// The process's simulated device: every object, every rule that spans entry points, and what is counted.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <cuda.h>

#include "executor.hpp"
#include "memory.hpp"
#include "objects.hpp"
#include "report.hpp"
#include "settings.hpp"

namespace simdriver {

// While one lives, the thread is inside a host function: no CUDA call is allowed.
class HostFunctionScope {
 public:
  HostFunctionScope();
  ~HostFunctionScope();
};

// A number for the calling thread, from 1.
std::uint64_t this_thread();
double device_clock_ms();

// What a call must know about itself before its body runs.
struct CallRules {
  const char* fail_class = nullptr;  // of SIMDRIVER_FAIL
  CUresult failure = CUDA_ERROR_UNKNOWN;  // what an injected failure answers
  bool before_init = false;          // allowed before cuInit
  bool after_loss = false;           // answers even when the device is lost
  bool unsafe_in_capture = false;    // refused, and the capture is invalidated
};

struct State {
  State();

  std::mutex mutex;
  bool initialised = false;
  CUresult lost = CUDA_SUCCESS;      // the sticky error

  Handles<Context, true> contexts;         // by CUcontext
  Handles<Green, true> greens;
  Handles<ResourceDescriptor> descriptors;
  Handles<Stream, true> streams;
  Handles<Event> events;
  Handles<Library> libraries;
  Handles<KernelObject> kernels;
  Handles<Function> functions;
  Handles<Graph> graphs;
  Handles<GraphExec> execs;
  Handles<Node> nodes;
  std::vector<std::shared_ptr<Capture>> captures;

  std::shared_ptr<Context> primary;  // null until first retained
  int primary_retains = 0;
  unsigned primary_flags = 0;
  int affinity_contexts = 0;
  std::map<std::pair<Context*, std::uint64_t>, std::shared_ptr<Stream>> per_thread;  // default streams by thread
  bool legacy_used = false;
  std::uint64_t launches_for_stall = 0;
  std::string lost_reason;
  std::map<std::string, std::uint64_t> fail_counts;  // calls so far, by class and by name

  Memory memory;
  Report report;
  Executor executor;
  std::uint64_t next_id = 16;        // of contexts, streams and chains; below: chains of the executor

  // The checks of every entry point, in order. CUDA_SUCCESS: the body may run.
  CUresult enter(const char* name, const CallRules& rules);
  void lose_device(CUresult error, const std::string& why);
  // A use that real hardware would punish, or that a rule of ours forbids.
  void finding(const std::string& text);

  // The calling thread's current context, null if there is none.
  std::shared_ptr<Context> current();
  std::vector<std::shared_ptr<Context>>& stack();

  // `handle` as an entry point means it: null and CU_STREAM_LEGACY are the current context's default stream,
  // CU_STREAM_PER_THREAD the thread's. CUDA_SUCCESS, or why there is no such stream.
  CUresult resolve(CUstream handle, std::shared_ptr<Stream>& to);
  std::shared_ptr<Stream> new_stream(const std::shared_ptr<Context>& context, unsigned flags, int priority);
  // Enqueues an operation on a stream that is not capturing.
  std::shared_ptr<Item> enqueue(Stream& stream, Operation operation, int priority, bool from_graph = false);
  // What an item enqueued on `stream` now comes after.
  std::vector<std::shared_ptr<Item>> before(Stream& stream);
  // Puts an operation on a stream: enqueues it, or adds a node if the stream captures.
  CUresult issue(const std::shared_ptr<Stream>& stream, Operation operation, int priority);
  // A CUfunction, or a CUkernel that was cast to one; null if it is neither.
  std::shared_ptr<KernelObject> kernel_of(CUfunction handle) const;
  std::shared_ptr<Context> new_context(ContextKind kind, unsigned flags, const simt::SmSet& sms);
  void destroy_context(const std::shared_ptr<Context>& context);
  void invalidate(Capture& capture);
  [[nodiscard]] std::vector<std::string> leaks() const;
};

State& state();
// The state if anything was called in this process yet, else null: for the report at exit.
State* state_if_any();

CUresult catch_all(const char* name);  // inside a catch block

// The frame of every entry point: lock, checks, body. Exceptions never leave it.
template <class Body>
CUresult entry(const char* name, const CallRules& rules, Body&& body) noexcept {
  try {
    State& all = state();
    std::unique_lock lock(all.mutex);
    if (const CUresult refused = all.enter(name, rules); refused != CUDA_SUCCESS) return refused;
    return body(all, lock);
  } catch (...) {
    return catch_all(name);
  }
}

}  // namespace simdriver
