// The way from native threads to the JavaScript thread of one environment: one thread-safe function per engine. Messages
// pile up here and the function is called only when no call is under way, so a busy engine costs one wake-up a batch.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "addon/napi.hpp"
#include "engine/types.hpp"

namespace splitwiser::addon {

struct LoadedBytes {
  std::uint64_t done;
  std::uint64_t total;
};

// All that came since the last call, in the order in which it is to be handled.
struct Batch {
  std::optional<LoadedBytes> progress;  // the latest
  std::vector<EngineEvent> events;
  bool work_done = false;               // the worker thread (load, dispose) has nothing more to do
};

class Receiver {
 public:
  virtual ~Receiver() = default;
  // On the JavaScript thread. What it throws becomes an uncaught JavaScript exception.
  virtual void receive(Napi::Env env, Batch batch) = 0;
};

class ThreadSafeSink final : public EventSink {
 public:
  ThreadSafeSink() = default;
  ~ThreadSafeSink() override = default;
  ThreadSafeSink(const ThreadSafeSink&) = delete;
  ThreadSafeSink& operator=(const ThreadSafeSink&) = delete;

  // JavaScript thread only. open() keeps the receiver alive until Node has finalized the function, which is some time
  // after release() or the end of the environment.
  void open(Napi::Env env, std::shared_ptr<Receiver> receiver);
  // Whether the function keeps Node's event loop running. Open: it does.
  void keep_loop_alive(Napi::Env env, bool alive);
  // After it nothing more reaches JavaScript, and native threads may still deliver.
  void close() noexcept;
  // close(), and the function goes.
  void release() noexcept;

  // Any thread.
  void deliver(std::vector<EngineEvent> events) override;
  void post_progress(LoadedBytes progress);
  void post_work_done() noexcept;

 private:
  static void call_js(napi_env env, napi_value function, void* context, void* data);
  Batch take();
  void wake();  // with mutex_ held

  std::mutex mutex_;
  napi_threadsafe_function function_ = nullptr;
  bool closed_ = true;
  bool call_pending_ = false;
  Batch batch_;
};

}  // namespace splitwiser::addon
