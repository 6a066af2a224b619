#include "addon/engine_host.hpp"

#include <system_error>
#include <utility>

#include "addon/convert.hpp"
#include "addon/engine_wrap.hpp"
#include "addon/errors.hpp"
#include "addon/load_engine.hpp"
#include "addon/merge_events.hpp"
#include "platform/clock.hpp"

namespace splitwiser::addon {
namespace {

// Progress is drawn by people; more often than this it only costs.
constexpr std::int64_t kProgressIntervalNs = 50'000'000;

Failure disposed() { return {ErrorCode::disposed, "the model was disposed: load it again to go on"}; }

}  // namespace

EngineHost::EngineHost(Napi::Env env, const ModelSpec& model) : env_(env), vocab_(model.vocab), loaded_(env) {}

std::shared_ptr<EngineHost> EngineHost::start(Napi::Env env, LoadSpec spec, Napi::Function on_progress,
                                              Napi::Function on_events) {
  auto host = std::make_shared<EngineHost>(env, spec.model);
  host->on_progress_ = Napi::Persistent(on_progress);
  host->on_events_ = Napi::Persistent(on_events);
  host->sink_.open(env, host);
  if (napi_add_env_cleanup_hook(env, on_environment_end, host.get()) != napi_ok) {
    host->sink_.release();
    throw Napi::Error::New(env);
  }
  try {
    host->worker_ = std::thread([host = host.get(), spec = std::move(spec)]() mutable { host->load(std::move(spec)); });
  } catch (...) {
    host->retire(env);
    throw;
  }
  return host;
}

// ---- worker thread ---------------------------------------------------------------------------

void EngineHost::load(LoadSpec spec) noexcept {
  try {
    if (!spec.cuda) isa_ = describe_cpu().isa;
    std::int64_t reported_ns = 0;
    engine_ = load_engine(std::move(spec), sink_, [&](std::uint64_t done, std::uint64_t total) {
      const std::int64_t now_ns = monotonic_ns();
      if (done >= total || now_ns - reported_ns >= kProgressIntervalNs) {
        reported_ns = now_ns;
        sink_.post_progress({done, total});
      }
      return !cancelled_.load(std::memory_order_relaxed);
    });
  } catch (...) {
    failure_ = describe(std::current_exception());
  }
  sink_.post_work_done();
}

void EngineHost::destroy_engine() noexcept {
  if (!engine_) return;
  try {
    engine_->shutdown();
  } catch (...) {
    // The destructor joins what is left; its requests are answered by finish_disposal().
  }
  engine_.reset();
}

// ---- JavaScript thread -----------------------------------------------------------------------

Engine& EngineHost::engine() const {
  if (state_ != State::ready) throw Error(disposed().code, disposed().message);
  return *engine_;
}

std::uint64_t EngineHost::submit(RequestSpec spec) {
  const std::uint64_t id = engine().submit(std::move(spec));
  pending_++;
  refresh_holds(env_);
  return id;
}

Napi::Promise EngineHost::configure(const EngineOptions& options) {
  Engine& engine = this->engine();
  const auto deferred = Napi::Promise::Deferred::New(env_);
  configurations_.emplace(engine.configure(options), deferred);
  pending_++;
  refresh_holds(env_);
  return deferred.Promise();
}

Napi::Promise EngineHost::dispose() {
  const auto deferred = Napi::Promise::Deferred::New(env_);
  if (state_ == State::gone) {
    deferred.Resolve(env_.Undefined());
    return deferred.Promise();
  }
  disposals_.push_back(deferred);
  pending_++;
  refresh_holds(env_);
  if (state_ == State::ready) start_disposal();
  return deferred.Promise();
}

void EngineHost::abandon() noexcept {
  if (state_ == State::ready) start_disposal();
}

void EngineHost::start_disposal() {
  state_ = State::disposing;
  try {
    worker_ = std::thread([this] {
      destroy_engine();
      sink_.post_work_done();
    });
  } catch (const std::system_error&) {
    // No thread is to be had: better a pause than an engine that stays.
    destroy_engine();
    sink_.post_work_done();
  }
}

void EngineHost::receive(Napi::Env env, Batch batch) {
  // Listeners may throw; the rest of the batch is handled all the same and the first exception passed on.
  std::optional<Napi::Error> thrown;
  const auto attempt = [&](auto&& body) {
    try {
      guard(env, body);
    } catch (const Napi::Error& error) {
      if (!thrown) thrown = error;
    }
  };
  std::vector<EngineEvent> events = merge_tokens(std::move(batch.events));
  std::vector<ConfiguredEvent> configured;
  bool for_listener = false;
  for (EngineEvent& event : events) {
    if (std::holds_alternative<EndEvent>(event)) pending_--;
    if (auto* configuration = std::get_if<ConfiguredEvent>(&event)) {
      configured.push_back(std::move(*configuration));
    } else {
      for_listener = true;
    }
  }
  if (batch.progress && state_ == State::loading) {
    const auto done = Napi::Number::New(env, double(batch.progress->done));
    const auto total = Napi::Number::New(env, double(batch.progress->total));
    attempt([&] { on_progress_.Value().Call({done, total}); });
  }
  if (for_listener && !on_events_.IsEmpty()) {
    attempt([&] { on_events_.Value().Call({write_events(env, std::move(events))}); });
  }
  for (const ConfiguredEvent& event : configured) attempt([&] { settle(env, event); });
  if (batch.work_done) {
    if (worker_.joinable()) worker_.join();
    if (state_ == State::loading) {
      attempt([&] { finish_load(env); });
    } else if (state_ == State::disposing) {
      attempt([&] { finish_disposal(env); });
    }
  }
  refresh_holds(env);
  if (thrown) throw Napi::Error(*thrown);
}

void EngineHost::settle(Napi::Env env, const ConfiguredEvent& event) {
  const auto found = configurations_.find(event.configuration);
  if (found == configurations_.end()) return;
  const Napi::Promise::Deferred deferred = found->second;
  configurations_.erase(found);
  pending_--;
  if (event.error) {
    deferred.Reject(to_js_error(env, *event.error).Value());
  } else {
    deferred.Resolve(env.Undefined());
  }
}

void EngineHost::finish_load(Napi::Env env) {
  if (failure_) {
    retire(env);
    loaded_.Reject(to_js_error(env, *failure_).Value());
    return;
  }
  try {
    guard(env, [&] {
      if (cancelled_.load(std::memory_order_relaxed)) throw Error(ErrorCode::aborted, "loading was aborted");
      const Napi::Object object = make_native_engine(env, shared_from_this());
      object_ = Napi::Persistent(object);  // strong, as busy_ is
    });
  } catch (const Napi::Error& error) {
    start_disposal();
    loaded_.Reject(error.Value());
    return;
  }
  state_ = State::ready;
  on_progress_.Reset();
  // V8 sees what a forgotten engine holds, and collects it the sooner.
  const EngineInfo info = engine_->info();
  external_bytes_ = std::int64_t(info.weight_bytes + info.kv_bytes + info.activation_bytes);
  Napi::MemoryManagement::AdjustExternalMemory(env, external_bytes_);
  pending_--;
  loaded_.Resolve(object_.Value());
}

void EngineHost::finish_disposal(Napi::Env env) {
  const auto disposals = std::exchange(disposals_, {});
  const auto configurations = std::exchange(configurations_, {});
  retire(env);
  for (const auto& [id, deferred] : configurations) deferred.Reject(to_js_error(env, disposed()).Value());
  for (const auto& deferred : disposals) deferred.Resolve(env.Undefined());
}

void EngineHost::refresh_holds(Napi::Env env) {
  const bool busy = pending_ > 0;
  if (busy == busy_) return;
  busy_ = busy;
  sink_.keep_loop_alive(env, busy);
  if (object_.IsEmpty()) return;
  if (busy) {
    object_.Ref();
  } else {
    object_.Unref();
  }
}

// Ends the host's part in the environment; the thread-safe function's finalizer lets go of it later.
void EngineHost::retire(Napi::Env env) {
  state_ = State::gone;
  pending_ = 0;
  refresh_holds(env);
  drop_references();
  napi_remove_env_cleanup_hook(env, on_environment_end, this);
  sink_.release();
  Napi::MemoryManagement::AdjustExternalMemory(env, -std::exchange(external_bytes_, 0));
}

void EngineHost::drop_references() noexcept {
  on_progress_.Reset();
  on_events_.Reset();
  object_.Reset();
}

void EngineHost::on_environment_end(void* data) {
  auto* host = static_cast<EngineHost*>(data);
  host->sink_.close();
  host->cancel();
  if (host->worker_.joinable()) host->worker_.join();
  host->destroy_engine();
  host->state_ = State::gone;
  host->drop_references();
}

}  // namespace splitwiser::addon
