// The life of one engine in one environment: loading, at work, disposing, gone. All but the worker thread's own work
// happens on the JavaScript thread, so only what that thread writes (engine_, failure_, isa_) is shared, and it is read
// after the join.
//
// Who holds whom. The thread-safe function, NativeEngine (the JavaScript object) and nobody else own the host. The host
// holds the object only while something is pending: a promise that waits keeps the engine, a forgotten engine is collected.
// End of the environment: the clean-up hook is registered after the thread-safe function was made, so it runs before Node
// tears that down; it joins every native thread. Finalizers may run after it and find the host gone.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "addon/event_sink.hpp"
#include "addon/load_spec.hpp"
#include "addon/napi.hpp"

namespace splitwiser::addon {

class EngineHost final : public Receiver, public std::enable_shared_from_this<EngineHost> {
 public:
  // Starts loading. The functions are called on the JavaScript thread.
  [[nodiscard]] static std::shared_ptr<EngineHost> start(Napi::Env env, LoadSpec spec, Napi::Function on_progress,
                                                         Napi::Function on_events);
  EngineHost(Napi::Env env, const ModelSpec& model);
  ~EngineHost() override = default;
  EngineHost(const EngineHost&) = delete;
  EngineHost& operator=(const EngineHost&) = delete;

  // Of the JavaScript object; rejects with what stopped the load.
  [[nodiscard]] Napi::Promise loaded() const { return loaded_.Promise(); }
  // Stops a load; does nothing once there is an engine.
  void cancel() noexcept { cancelled_.store(true, std::memory_order_relaxed); }

  [[nodiscard]] Engine& engine() const;  // throws disposed
  [[nodiscard]] const std::string& isa() const { return isa_; }
  [[nodiscard]] std::int64_t vocab() const { return vocab_; }

  std::uint64_t submit(RequestSpec spec);
  [[nodiscard]] Napi::Promise configure(const EngineOptions& options);
  [[nodiscard]] Napi::Promise dispose();
  // The JavaScript object was collected.
  void abandon() noexcept;

  void receive(Napi::Env env, Batch batch) override;

 private:
  enum class State : std::uint8_t { loading, ready, disposing, gone };

  void load(LoadSpec spec) noexcept;            // worker thread
  void destroy_engine() noexcept;               // worker thread, or the JavaScript thread at the end of the environment
  void start_disposal();
  void finish_load(Napi::Env env);
  void finish_disposal(Napi::Env env);
  void settle(Napi::Env env, const ConfiguredEvent& event);
  void refresh_holds(Napi::Env env);
  void retire(Napi::Env env);
  static void on_environment_end(void* host);
  void drop_references() noexcept;

  Napi::Env env_;
  State state_ = State::loading;
  std::int64_t vocab_;
  ThreadSafeSink sink_;                         // outlives the engine
  Napi::FunctionReference on_progress_;
  Napi::FunctionReference on_events_;
  Napi::ObjectReference object_;                // strong while busy_, else weak
  Napi::Promise::Deferred loaded_;
  std::vector<Napi::Promise::Deferred> disposals_;
  std::map<std::uint64_t, Napi::Promise::Deferred> configurations_;
  // Promises that wait: the load, requests without their EndEvent, configurations, the disposal.
  std::int64_t pending_ = 1;
  bool busy_ = true;                            // what refresh_holds() last made of pending_
  std::int64_t external_bytes_ = 0;             // reported to V8

  std::atomic<bool> cancelled_{false};
  std::unique_ptr<Engine> engine_;
  std::optional<Failure> failure_;
  std::string isa_;
  std::thread worker_;
};

}  // namespace splitwiser::addon
