#include "addon/event_sink.hpp"

#include <iterator>

#include "addon/errors.hpp"

namespace splitwiser::addon {
namespace {

// What the thread-safe function owns.
struct Context {
  ThreadSafeSink& sink;  // part of what `receiver` keeps alive
  std::shared_ptr<Receiver> receiver;
};

}  // namespace

void ThreadSafeSink::open(Napi::Env env, std::shared_ptr<Receiver> receiver) {
  auto context = std::make_unique<Context>(Context{*this, std::move(receiver)});
  const auto finalize = [](napi_env, void* data, void*) { delete static_cast<Context*>(data); };
  const napi_status status = napi_create_threadsafe_function(
      env, nullptr, nullptr, Napi::String::New(env, "splitwiser.engine"), 0, 1, context.get(), finalize, context.get(),
      call_js, &function_);
  if (status != napi_ok) throw Napi::Error::New(env);
  static_cast<void>(context.release());
  closed_ = false;
}

void ThreadSafeSink::keep_loop_alive(Napi::Env env, bool alive) {
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
  }
  // Only this thread closes or releases, so the function is still there.
  if (alive) {
    napi_ref_threadsafe_function(env, function_);
  } else {
    napi_unref_threadsafe_function(env, function_);
  }
}

void ThreadSafeSink::close() noexcept {
  const std::lock_guard lock(mutex_);
  closed_ = true;
}

void ThreadSafeSink::release() noexcept {
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    closed_ = true;
  }
  napi_release_threadsafe_function(function_, napi_tsfn_release);
}

void ThreadSafeSink::deliver(std::vector<EngineEvent> events) {
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  if (batch_.events.empty()) {
    batch_.events = std::move(events);
  } else {
    batch_.events.insert(batch_.events.end(), std::make_move_iterator(events.begin()),
                         std::make_move_iterator(events.end()));
  }
  wake();
}

void ThreadSafeSink::post_progress(LoadedBytes progress) {
  const std::lock_guard lock(mutex_);
  batch_.progress = progress;
  wake();
}

void ThreadSafeSink::post_work_done() noexcept {
  const std::lock_guard lock(mutex_);
  batch_.work_done = true;
  wake();
}

void ThreadSafeSink::wake() {
  if (closed_ || call_pending_) return;
  switch (napi_call_threadsafe_function(function_, nullptr, napi_tsfn_nonblocking)) {
    case napi_ok: call_pending_ = true; break;
    // The environment ends: the function must not be touched again.
    case napi_closing: closed_ = true; break;
    // Out of memory: the next message tries again.
    default: break;
  }
}

Batch ThreadSafeSink::take() {
  const std::lock_guard lock(mutex_);
  call_pending_ = false;
  return std::exchange(batch_, Batch{});
}

void ThreadSafeSink::call_js(napi_env env, napi_value, void* context, void*) {
  // No environment: the function is being torn down and its calls are only emptied.
  if (env == nullptr) return;
  const auto* owned = static_cast<Context*>(context);
  // The receiver may release the function while it is being called.
  const std::shared_ptr<Receiver> receiver = owned->receiver;
  Batch batch = owned->sink.take();
  try {
    guard(Napi::Env(env), [&] { receiver->receive(Napi::Env(env), std::move(batch)); });
  } catch (const Napi::Error& error) {
    // Node 20 only warns of what is thrown out of such a call; this is an "uncaughtException" on every version. It fails
    // where the environment ends, and nobody is there to hear it then.
    static_cast<void>(napi_fatal_exception(env, error.Value()));
  } catch (...) {
    // Nothing left to say it with: even the error could not be made.
  }
}

}  // namespace splitwiser::addon
