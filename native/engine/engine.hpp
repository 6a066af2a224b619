// The face of engine/: requests in, events out. Safe to call from any thread; no call waits for a step
// but shutdown().
#pragma once

#include <memory>

#include "engine/text/text.hpp"
#include "engine/types.hpp"
#include "model/decoder.hpp"

namespace splitwiser {

struct EngineParts {
  std::unique_ptr<Backend> backend;
  std::unique_ptr<Decoder> decoder;
  std::shared_ptr<const Vocabulary> vocabulary;  // null: no text, ids only
  KvShape kv;
  std::int64_t max_model_len = 0;                // tokens of a sequence, prompt and output
};

class Engine {
 public:
  // Allocates the KV pool and the lanes' workspaces (throws out_of_memory) and starts a thread per lane.
  // The sink must outlive the engine.
  Engine(EngineParts parts, const EngineOptions& options, EventSink& sink);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Throws what can never run (invalid_option, prompt_too_long, out_of_memory, disposed), else returns the id.
  std::uint64_t submit(RequestSpec spec);
  // Ends a request with "aborted"; unknown and ended ids are ignored.
  void abort(std::uint64_t request);

  // Held sequences. All three throw invalid_option for an unknown or busy one; release() of a busy one ends its request first.
  std::uint64_t fork(std::uint64_t sequence);
  void truncate(std::uint64_t sequence, std::int64_t length);
  void release(std::uint64_t sequence);

  // Applied between steps, running requests go on; a ConfiguredEvent with the returned id follows.
  std::uint64_t configure(const EngineOptions& options);

  [[nodiscard]] EngineInfo info() const;
  [[nodiscard]] EngineStats stats() const;
  [[nodiscard]] std::vector<TimelineEvent> timeline(std::size_t limit) const;

  // Ends every request with "disposed" and joins the threads; may be called again, from any thread but a lane's.
  void shutdown();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace splitwiser
