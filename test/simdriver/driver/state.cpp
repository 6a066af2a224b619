#include "state.hpp"

#include <chrono>
#include <cstring>
#include <exception>

namespace simdriver {
namespace {

std::atomic<State*> g_state{nullptr};
thread_local int t_host_function = 0;

struct ThreadContexts {
  std::vector<std::shared_ptr<Context>> stack;
};
ThreadContexts& thread_contexts() {
  // Not destroyed with the thread: its context may be popped by nobody, and the state outlives every thread.
  thread_local ThreadContexts* const kContexts = new ThreadContexts;
  return *kContexts;
}

std::string ordinal(std::uint64_t n) { return "call " + std::to_string(n); }

}  // namespace

HostFunctionScope::HostFunctionScope() { ++t_host_function; }
HostFunctionScope::~HostFunctionScope() { --t_host_function; }

std::uint64_t this_thread() {
  static std::atomic<std::uint64_t> next{1};
  thread_local const std::uint64_t kNumber = next++;
  return kNumber;
}

double device_clock_ms() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double, std::milli>(now).count();
}

State::State() : memory(settings().memory_bytes), executor(mutex, settings().seed) {}

State& state() {
  static State* const kState = [] {
    State* const made = new State;  // never destroyed: the executor's threads use it until the process ends
    g_state = made;
    return made;
  }();
  return *kState;
}

State* state_if_any() { return g_state; }

CUresult catch_all(const char* name) {
  std::string what = "unknown";
  try {
    throw;
  } catch (const std::exception& error) {
    what = error.what();
  } catch (...) {
  }
  const std::lock_guard lock(state().mutex);
  state().finding(std::string("the simulated driver failed in ") + name + ": " + what);
  return CUDA_ERROR_UNKNOWN;
}

void State::finding(const std::string& text) { report.finding(text); }

CUresult State::enter(const char* name, const CallRules& rules) {
  report.call(name);
  if (t_host_function != 0) {
    finding(std::string(name) + " was called from a host function: no CUDA call is allowed there");
    return CUDA_ERROR_NOT_PERMITTED;
  }
  if (!rules.before_init && !initialised && !settings().initialised) return CUDA_ERROR_NOT_INITIALIZED;
  if (lost != CUDA_SUCCESS && !rules.after_loss) return lost;
  const auto fails = [&](const char* of, std::uint64_t& count) {
    ++count;
    const auto planned = settings().fail.find(of);
    return planned != settings().fail.end() && planned->second == count;
  };
  if (rules.fail_class) {
    const bool launch = std::strcmp(rules.fail_class, "launch") == 0;
    if (launch && fails("lost", fail_counts["lost"])) {
      lose_device(CUDA_ERROR_ILLEGAL_ADDRESS, "SIMDRIVER_FAIL lost, " + ordinal(fail_counts["lost"]));
      return lost;
    }
    if (fails(rules.fail_class, fail_counts[rules.fail_class])) return rules.failure;
  }
  if (fails(name, fail_counts[name])) return rules.failure;
  if (rules.unsafe_in_capture) {
    for (const auto& capture : captures) {
      const bool forbids = capture->mode == CU_STREAM_CAPTURE_MODE_GLOBAL ||
                           (capture->mode == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL && capture->thread == this_thread());
      if (!forbids) continue;
      finding(std::string(name) + " was called during a stream capture that forbids it");
      invalidate(*capture);
      return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
  }
  return CUDA_SUCCESS;
}

void State::invalidate(Capture& capture) { capture.invalid = true; }

void State::lose_device(CUresult error, const std::string& why) {
  if (lost != CUDA_SUCCESS) return;
  lost = error;
  lost_reason = why;
  executor.drop_all();
  machine().abort();  // what runs would hold up whoever waits for it
}

std::vector<std::shared_ptr<Context>>& State::stack() { return thread_contexts().stack; }

std::shared_ptr<Context> State::current() {
  auto& contexts_of_thread = thread_contexts().stack;
  return contexts_of_thread.empty() ? nullptr : contexts_of_thread.back();
}

std::shared_ptr<Context> State::new_context(ContextKind kind, unsigned flags, const simt::SmSet& sms) {
  auto context = std::make_shared<Context>();
  context->kind = kind;
  context->flags = flags;
  context->sms = sms;
  context->id = next_id++;
  contexts.add<CUcontext>(context);
  report.context(*context);
  context->legacy = new_stream(context, CU_STREAM_DEFAULT, 0);
  context->legacy->legacy = true;
  return context;
}

void State::destroy_context(const std::shared_ptr<Context>& context) {
  context->alive = false;
  for (const auto& weak : context->streams) {
    if (const auto stream = weak.lock(); stream && stream->alive && !stream->legacy) {
      finding("a context was destroyed before its stream " + std::to_string(stream->id));
    }
  }
  streams.retire(context->legacy.get());
  contexts.retire(context.get());
}

std::shared_ptr<Stream> State::new_stream(const std::shared_ptr<Context>& context, unsigned flags, int priority) {
  auto stream = std::make_shared<Stream>();
  stream->context = context;
  stream->flags = flags;
  stream->priority = priority;
  stream->id = next_id++;
  streams.add<CUstream>(stream);
  context->streams.push_back(stream);
  report.stream(*stream);
  return stream;
}

CUresult State::resolve(CUstream handle, std::shared_ptr<Stream>& to) {
  if (handle == nullptr || handle == CU_STREAM_LEGACY || handle == CU_STREAM_PER_THREAD) {
    const auto context = current();
    if (!context) return CUDA_ERROR_INVALID_CONTEXT;
    if (!context->alive) return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    if (handle == CU_STREAM_PER_THREAD) {
      auto& own = per_thread[{context.get(), this_thread()}];
      if (!own) own = new_stream(context, CU_STREAM_DEFAULT, 0);
      to = own;
    } else {
      to = context->legacy;
      legacy_used = true;
    }
    return CUDA_SUCCESS;
  }
  to = streams.find(handle);
  if (!to) {
    if (streams.was(handle)) finding("a destroyed stream was used");
    return streams.was(handle) ? CUDA_ERROR_CONTEXT_IS_DESTROYED : CUDA_ERROR_INVALID_HANDLE;
  }
  return to->context->alive ? CUDA_SUCCESS : CUDA_ERROR_CONTEXT_IS_DESTROYED;
}

std::vector<std::shared_ptr<Item>> State::before(Stream& stream) {
  std::vector<std::shared_ptr<Item>> after{stream.tail};
  if (stream.legacy) {
    auto& all = stream.context->streams;
    std::erase_if(all, [](const auto& weak) { return weak.expired(); });
    for (const auto& weak : all) {
      if (const auto other = weak.lock(); other && other->blocking()) after.push_back(other->tail);
    }
  } else if (stream.blocking()) {
    after.push_back(stream.context->legacy->tail);
  }
  return after;
}

std::shared_ptr<Item> State::enqueue(Stream& stream, Operation operation, int priority, bool from_graph) {
  auto item = std::make_shared<Item>();
  item->operation = std::move(operation);
  item->context = stream.context;
  item->stream = stream.id;
  item->chain = stream.id;
  item->priority = priority;
  item->from_graph = from_graph;
  const auto kind = item->operation.kind;
  if (kind == OperationKind::copy || kind == OperationKind::fill) report.copy(*item);
  const auto after = before(stream);
  stream.tail = item;
  executor.submit(item, after);
  return item;
}

std::shared_ptr<KernelObject> State::kernel_of(CUfunction handle) const {
  if (const auto function = functions.find(handle)) return function->kernel;
  return kernels.find(handle);
}

std::vector<std::string> State::leaks() const {
  if (lost != CUDA_SUCCESS) return {};  // nothing can be freed any more
  std::vector<std::string> lines = memory.leaks();
  const auto add = [&](std::size_t count, const char* what) {
    if (count != 0) lines.push_back(std::to_string(count) + " " + what);
  };
  std::size_t made_streams = 0;
  for (const auto& [key, stream] : streams.live()) made_streams += stream->legacy ? 0 : 1;
  for (const auto& [key, stream] : per_thread) made_streams -= stream->alive ? 1 : 0;
  add(made_streams, "streams");
  add(events.live().size(), "events");
  std::size_t made_contexts = 0;
  for (const auto& [key, context] : contexts.live()) made_contexts += context->kind != ContextKind::primary ? 1 : 0;
  add(made_contexts, "contexts");
  add(std::size_t(primary_retains), "retains of the primary context");
  add(libraries.live().size(), "libraries");
  add(graphs.live().size(), "graphs");
  add(execs.live().size(), "executable graphs");
  return lines;
}

}  // namespace simdriver
