// What the handles of the driver API stand for. All of it is guarded by State::mutex.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <cuda.h>

#include "executor.hpp"
#include "image.hpp"

namespace simdriver {

struct Capture;
struct Stream;

enum class ContextKind { primary, plain, affinity, green };

struct Context {
  ContextKind kind = ContextKind::plain;
  unsigned flags = 0;
  std::uint64_t id = 0;
  simt::SmSet sms;                        // where its kernels may run
  unsigned granted_affinity = 0;    // SMs as rounded, of an affinity context
  bool alive = true;
  int current_in = 0;               // threads in which it is current
  std::vector<std::weak_ptr<Stream>> streams;
  std::shared_ptr<Stream> legacy;   // the legacy default stream
};

// The handle of a green context, which is another than that of its CUcontext.
struct Green {
  std::shared_ptr<Context> context;
  CUdevResource resource{};
};

struct ResourceDescriptor {
  simt::SmSet sms;
  CUdevResource resource{};
};

struct Stream {
  std::shared_ptr<Context> context;
  unsigned flags = 0;
  int priority = 0;
  std::uint64_t id = 0;
  bool legacy = false;
  bool alive = true;
  std::shared_ptr<Item> tail;       // the last item enqueued
  std::shared_ptr<Capture> capture;
  bool blocking() const { return !(flags & CU_STREAM_NON_BLOCKING); }
};

struct Node;

struct Event {
  std::shared_ptr<Context> context;
  unsigned flags = 0;
  bool alive = true;
  std::shared_ptr<Item> last;                 // of the last record
  std::shared_ptr<Capture> capture;           // of the last record, if that was captured
  std::vector<std::shared_ptr<Node>> frontier;
};

struct Library;
struct KernelObject;

struct Function {
  std::shared_ptr<KernelObject> kernel;
  std::shared_ptr<Context> context;
};

struct KernelObject {
  std::string name;
  KernelImage image;
  const simt::KernelEntry* entry = nullptr;  // what runs
  int dynamic_shared_limit = 48 * 1024;
  std::map<Context*, std::shared_ptr<Function>> functions;  // contexts in which it is loaded
};

struct Library {
  std::map<std::string, std::shared_ptr<KernelObject>> kernels;
  bool alive = true;
};

// A node of a graph: an operation and the context that it was captured in.
struct Node {
  Operation operation;
  std::shared_ptr<Context> context;
  int priority = 0;
  std::vector<std::shared_ptr<Node>> after;
  void* parameters = nullptr;       // for cuGraphKernelNodeGetParams
};

struct Graph {
  std::vector<std::shared_ptr<Node>> nodes;  // in an order in which each comes after what it depends on
};

struct GraphExec {
  std::vector<std::shared_ptr<Node>> nodes;
  std::vector<std::vector<std::size_t>> after;  // [nodes] places of the nodes that each comes after
  std::vector<std::uint64_t> chains;            // [nodes] 0: the launching stream's
  unsigned long long flags = 0;
  bool uploaded = false;
  std::shared_ptr<Item> last;       // the end of the last launch
  std::uint64_t last_stream = 0;
};

// A capture in progress: one graph, one or more streams.
struct Capture {
  std::shared_ptr<Graph> graph = std::make_shared<Graph>();
  CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_GLOBAL;
  std::uint64_t thread = 0;         // that began it
  std::uint64_t id = 0;
  Stream* origin = nullptr;
  bool invalid = false;
  bool ended = false;
  std::map<Stream*, std::vector<std::shared_ptr<Node>>> frontier;  // what the next node of a stream comes after
};

// The objects of one type, by handle. Destroyed ones are remembered so that their use can be told from nonsense; where
// `Keep` is set they stay in memory, and no later object gets the same handle.
template <class T, bool Keep = false>
class Handles {
 public:
  template <class Handle>
  Handle add(std::shared_ptr<T> object) {
    T* const key = object.get();
    retired_.erase(key);
    live_[key] = std::move(object);
    return reinterpret_cast<Handle>(key);
  }
  template <class Handle>
  std::shared_ptr<T> find(Handle handle) const {
    const auto found = live_.find(reinterpret_cast<T*>(handle));
    return found == live_.end() ? nullptr : found->second;
  }
  template <class Handle>
  void retire(Handle handle) {
    const auto found = live_.find(reinterpret_cast<T*>(handle));
    if (found == live_.end()) return;
    retired_[found->first] = Keep ? found->second : nullptr;
    live_.erase(found);
  }
  template <class Handle>
  bool was(Handle handle) const {
    return retired_.count(reinterpret_cast<T*>(handle)) != 0;
  }
  const std::map<T*, std::shared_ptr<T>>& live() const { return live_; }

 private:
  std::map<T*, std::shared_ptr<T>> live_, retired_;
};

}  // namespace simdriver
