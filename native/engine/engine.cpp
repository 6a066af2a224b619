#include "engine/engine.hpp"

#include <algorithm>
#include <numeric>
#include <system_error>

#include "engine/engine_impl.hpp"
#include "platform/clock.hpp"

namespace splitwiser {
namespace {

// Rows of logits that one lane holds at a time; more wanted rows are done in several passes over the head.
constexpr std::int64_t kMaxLogitRows = 64;

void check_options(const EngineOptions& options) {
  if (options.max_sequences < 1) throw Error(ErrorCode::invalid_option, "maxSequences must be at least 1");
  if (options.max_batch_tokens < 1) throw Error(ErrorCode::invalid_option, "maxBatchTokens must be at least 1");
}

Failure disposed() { return {ErrorCode::disposed, "the model was disposed: load it again to go on"}; }

}  // namespace

Engine::Impl::Impl(EngineParts parts, const EngineOptions& options, EventSink& sink)
    : sink_(sink),
      backend_(std::move(parts.backend)),
      decoder_(std::move(parts.decoder)),
      vocabulary_(std::move(parts.vocabulary)),
      kv_shape_(parts.kv),
      max_model_len_(parts.max_model_len),
      pool_(backend_->make_kv_pool(parts.kv)),
      origin_ns_(monotonic_ns()),
      most_in_flight_(std::size_t(backend_->steps_in_flight())),
      options_(options),
      allocator_(parts.kv.pages) {
  check_options(options);
  partition_ = backend_->configure(options.partition);
  read_lane_info();
  install_workspaces(make_workspaces(options.max_batch_tokens));
  prepare_decode();
  start_lanes();
}

Engine::Impl::~Impl() { shutdown(); }

void Engine::Impl::start_lanes() {
  try {
    for (const Phase phase : {Phase::prefill, Phase::decode}) {
      lanes_[int(phase)].thread = std::thread([this, phase] { run_lane(phase); });
    }
  } catch (const std::system_error& error) {
    // The destructor does not run: a lane that did start must be joined here.
    shutdown();
    throw Error(ErrorCode::out_of_memory, std::string("no thread could be started for a lane (") + error.what() + ")");
  }
}

double Engine::Impl::now_ms() const { return double(monotonic_ns() - origin_ns_) * 1e-6; }

Engine::Impl::Workspaces Engine::Impl::make_workspaces(std::int64_t max_batch_tokens) const {
  Workspaces made;
  for (std::size_t i = 0; i < made.size(); i++) {
    if (lanes_[i].workspace && lanes_[i].workspace->max_rows() == max_batch_tokens) continue;
    made[i] = std::make_unique<Workspace>(*backend_, decoder_->spec(), max_batch_tokens,
                                          std::min(max_batch_tokens, kMaxLogitRows));
  }
  return made;
}

void Engine::Impl::install_workspaces(Workspaces made) {
  for (std::size_t i = 0; i < made.size(); i++) {
    if (made[i]) lanes_[i].workspace = std::move(made[i]);
  }
}

void Engine::Impl::prepare_decode() {
  if (most_in_flight_ == 1) return;  // nothing is kept: every step is issued as it comes
  Workspace& workspace = *lanes_[int(Phase::decode)].workspace;
  Lane& lane = backend_->lane(Phase::decode);
  const std::int64_t most = std::min(workspace.max_logit_rows(), options_.max_sequences);
  // Every row is wanted. The device may read the list long after the program has returned.
  auto all = std::make_shared<std::vector<std::int32_t>>(std::size_t(workspace.max_logit_rows()));
  std::iota(all->begin(), all->end(), 0);
  const auto program = [this, &lane, &workspace, all](const StepInput& in, std::span<const SampleRow> samples,
                                                      std::span<SampleResult> results) {
    const auto rows = std::span(*all).first(std::size_t(in.rows()));
    const auto states = decoder_->forward(lane, in, *pool_, workspace, rows, [] { return false; });
    lane.ops().sample(decoder_->logits(lane, *states, 0, in.rows(), workspace), samples, results);
  };
  lane.prepare_decode(program, most);
}

void Engine::Impl::read_lane_info() {
  for (const Phase phase : {Phase::prefill, Phase::decode}) lane_info_[int(phase)] = backend_->lane(phase).info();
  partition_notes_ = backend_->partition_notes();
}

void Engine::Impl::notify() {
  changes_++;
  wake_.notify_all();
}

void Engine::Impl::flush() {
  const std::lock_guard order(delivery_mutex_);
  std::vector<EngineEvent> events;
  {
    const std::lock_guard lock(mutex_);
    events.swap(outbox_);
  }
  if (!events.empty()) sink_.deliver(std::move(events));
}

// ---- requests --------------------------------------------------------------------------------

void Engine::Impl::check_spec(const RequestSpec& spec) const {
  const auto vocab = decoder_->spec().vocab;
  for (const std::int32_t token : spec.tokens) {
    if (token < 0 || token >= vocab) {
      throw Error(ErrorCode::invalid_option, "token id " + std::to_string(token) + " is not in the vocabulary (0 to " +
                                                 std::to_string(vocab - 1) + ")");
    }
  }
  if (spec.sequence == 0 && spec.tokens.empty()) {
    throw Error(ErrorCode::invalid_option, "the prompt is empty: give at least one token");
  }
  if (!spec.generate) return;
  const GenerateSpec& generate = *spec.generate;
  if (generate.max_tokens < 1) throw Error(ErrorCode::invalid_option, "maxTokens must be at least 1");
  if (generate.choices < 1 || generate.choices > std::uint64_t(options_.max_sequences)) {
    throw Error(ErrorCode::invalid_option, "n is " + std::to_string(generate.choices) + ", it must be 1 to maxSequences (" +
                                               std::to_string(options_.max_sequences) + ")");
  }
  if (generate.choices > 1 && (spec.sequence != 0 || spec.keep)) {
    throw Error(ErrorCode::invalid_option, "n > 1 goes with a prompt of its own: fork the sequence instead");
  }
}

std::int64_t Engine::Impl::pages_to_reserve(const Request& request) const {
  const int page_size = kv_shape_.page_size;
  const Sequence& sequence = *request.sequence;
  const auto length = std::int64_t(sequence.tokens.size());
  // The last generated token is never computed.
  const std::int64_t final_length = length + (request.spec.generate ? request.spec.generate->max_tokens - 1 : 0);
  const std::int64_t final_pages = pages_for(final_length, page_size);
  const auto first_written = std::size_t(sequence.computed / page_size);
  const bool copies = first_written < sequence.pages.size() && allocator_.shared(sequence.pages[first_written]);
  const std::int64_t others = request.choice_count() - 1;
  const std::int64_t own_copy = others > 0 && length % page_size != 0 ? 1 : 0;
  return final_pages - std::int64_t(sequence.pages.size()) + (copies ? 1 : 0) + own_copy +
         others * (final_pages - length / page_size);
}

std::uint64_t Engine::Impl::submit(RequestSpec spec) {
  std::uint64_t id = 0;
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) throw Error(ErrorCode::disposed, disposed().message);
    if (lost_) throw Error(lost_->code, lost_->message);
    check_spec(spec);
    auto request = std::make_shared<Request>();
    request->sequence = spec.sequence != 0 ? idle_held(spec.sequence) : std::make_shared<Sequence>();
    Sequence& sequence = *request->sequence;
    const auto past = std::int64_t(sequence.tokens.size());
    const std::int64_t length = past + std::int64_t(spec.tokens.size());
    if (length == 0) throw Error(ErrorCode::invalid_option, "the sequence is empty: append at least one token");
    const std::int64_t most = max_model_len_ - (spec.generate ? 1 : 0);
    if (length > most) {
      throw Error(ErrorCode::prompt_too_long,
                  "the prompt has " + std::to_string(length) + " tokens, at most " + std::to_string(most) +
                      " fit (maxModelLen " + std::to_string(max_model_len_) +
                      "): shorten it, or load the model with a larger maxModelLen or kvCacheBytes");
    }
    if (spec.generate) spec.generate->max_tokens = std::min(spec.generate->max_tokens, max_model_len_ - length);

    sequence.tokens.insert(sequence.tokens.end(), spec.tokens.begin(), spec.tokens.end());
    // Something must be computed for there to be logits: the last token again (the same bits in the same place).
    const std::int64_t computed_before = sequence.computed;
    if (sequence.pending() == 0) sequence.computed--;
    request->first_token = past;
    request->prompt_tokens = length;
    request->spec = std::move(spec);
    if (const auto& generate = request->spec.generate) {
      request->ending_ids = generate->end_token_ids;
      request->ending_ids.insert(request->ending_ids.end(), generate->stop_token_ids.begin(), generate->stop_token_ids.end());
    }

    const std::int64_t needed = pages_to_reserve(*request) + std::int64_t(sequence.pages.size());
    if (needed > allocator_.total()) {
      sequence.tokens.resize(std::size_t(past));
      sequence.computed = computed_before;
      throw Error(ErrorCode::out_of_memory,
                  "the request needs " + std::to_string(needed) + " KV pages of " + std::to_string(kv_shape_.page_size) +
                      " tokens (prompt " + std::to_string(length) + " tokens, maxTokens " +
                      std::to_string(request->spec.generate ? request->spec.generate->max_tokens : 0) + ", n " +
                      std::to_string(request->choice_count()) + "), the cache has " + std::to_string(allocator_.total()) +
                      ": lower maxTokens or n, or load the model with a larger kvCacheBytes");
    }
    id = ++last_request_;
    request->id = id;
    sequence.request = id;
    request->timing.submitted_ms = now_ms();
    if (request->spec.deadline_ms > 0) request->deadline_at_ms = request->timing.submitted_ms + request->spec.deadline_ms;
    requests_.emplace(id, std::move(request));
    notify();
  }
  return id;
}

void Engine::Impl::abort(std::uint64_t id) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = requests_.find(id);
    if (found == requests_.end()) return;
    const RequestPtr request = found->second;
    cancel(request, {ErrorCode::aborted, "the request was aborted"});
  }
  flush();
}

// ---- held sequences --------------------------------------------------------------------------

std::shared_ptr<Sequence> Engine::Impl::held(std::uint64_t handle) const {
  const auto found = held_.find(handle);
  if (found == held_.end()) throw Error(ErrorCode::invalid_option, "the sequence was disposed");
  return found->second;
}

std::shared_ptr<Sequence> Engine::Impl::idle_held(std::uint64_t handle) const {
  auto sequence = held(handle);
  if (sequence->request != 0) {
    throw Error(ErrorCode::invalid_option, "the sequence is busy: wait for its running call to end, or abort it");
  }
  return sequence;
}

std::uint64_t Engine::Impl::fork(std::uint64_t handle) {
  const std::lock_guard lock(mutex_);
  auto child = splitwiser::fork(*idle_held(handle), allocator_);
  child->handle = ++last_handle_;
  held_.emplace(child->handle, child);
  return child->handle;
}

void Engine::Impl::truncate(std::uint64_t handle, std::int64_t length) {
  const std::lock_guard lock(mutex_);
  const auto sequence = idle_held(handle);
  if (length < 0 || length > std::int64_t(sequence->tokens.size())) {
    throw Error(ErrorCode::invalid_option, "length is " + std::to_string(length) + ", it must be 0 to " +
                                               std::to_string(sequence->tokens.size()) + " (the sequence's length)");
  }
  splitwiser::truncate(*sequence, length, kv_shape_.page_size, allocator_);
  notify();
}

void Engine::Impl::release(std::uint64_t handle) {
  {
    const std::lock_guard lock(mutex_);
    const auto sequence = held(handle);
    if (sequence->request != 0) {
      sequence->release_when_idle = true;
      const RequestPtr request = requests_.at(sequence->request);
      cancel(request, {ErrorCode::disposed, "the sequence was disposed"});
    } else {
      release_pages(*sequence, allocator_);
      held_.erase(handle);
      notify();
    }
  }
  flush();
}

// ---- the rest of the face --------------------------------------------------------------------

std::uint64_t Engine::Impl::configure(const EngineOptions& options) {
  check_options(options);
  const std::lock_guard lock(mutex_);
  if (stopping_) throw Error(ErrorCode::disposed, disposed().message);
  if (lost_) throw Error(lost_->code, lost_->message);
  configurations_.push_back({++last_configuration_, options});
  notify();
  return last_configuration_;
}

EngineInfo Engine::Impl::info() const {
  const std::lock_guard lock(mutex_);
  EngineInfo info;
  info.device = backend_->name();
  info.partition = partition_;
  info.partition_notes = partition_notes_;
  for (int i = 0; i < kPhases; i++) {
    info.lanes[i] = lane_info_[i];
    info.activation_bytes += lanes_[i].workspace->bytes();
  }
  info.weight_bytes = decoder_->weights().bytes;
  info.kv_bytes = kv_shape_.page_bytes() * std::size_t(kv_shape_.pages);
  info.parameters = decoder_->weights().parameters;
  return info;
}

EngineStats Engine::Impl::stats() const {
  const std::lock_guard lock(mutex_);
  EngineStats stats;
  for (const auto& [id, request] : requests_) {
    (request->state == RequestState::waiting ? stats.waiting : stats.running)++;
  }
  stats.held = std::int64_t(held_.size());
  stats.pages = {allocator_.total(), allocator_.free(), allocator_.total() - allocator_.free(), 0};
  stats.prompt_tokens = prompt_tokens_;
  stats.generated_tokens = generated_tokens_;
  for (int i = 0; i < kPhases; i++) stats.lanes[i] = lanes_[i].stats;
  stats.schedule = options_.schedule;
  stats.now_ms = now_ms();
  return stats;
}

std::vector<TimelineEvent> Engine::Impl::timeline(std::size_t limit) const {
  const std::lock_guard lock(mutex_);
  return timeline_.last(limit);
}

void Engine::Impl::shutdown() {
  const std::lock_guard once(shutdown_mutex_);
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    for (const auto& [id, request] : requests_) {
      if (!request->failure) request->failure = disposed();
      request->cancelled.store(true, std::memory_order_relaxed);
    }
    notify();
  }
  for (LaneState& lane : lanes_) {
    if (lane.thread.joinable()) lane.thread.join();
  }
  {
    const std::lock_guard lock(mutex_);
    while (!requests_.empty()) {
      const RequestPtr request = requests_.begin()->second;
      end_request(request);
    }
    for (const Configuration& configuration : configurations_) {
      outbox_.push_back(ConfiguredEvent{configuration.id, disposed()});
    }
    configurations_.clear();
    for (const auto& [handle, sequence] : held_) release_pages(*sequence, allocator_);
    held_.clear();
  }
  flush();
}

// ---- face ------------------------------------------------------------------------------------

Engine::Engine(EngineParts parts, const EngineOptions& options, EventSink& sink)
    : impl_(std::make_unique<Impl>(std::move(parts), options, sink)) {}
Engine::~Engine() = default;
std::uint64_t Engine::submit(RequestSpec spec) { return impl_->submit(std::move(spec)); }
void Engine::abort(std::uint64_t request) { impl_->abort(request); }
std::uint64_t Engine::fork(std::uint64_t sequence) { return impl_->fork(sequence); }
void Engine::truncate(std::uint64_t sequence, std::int64_t length) { impl_->truncate(sequence, length); }
void Engine::release(std::uint64_t sequence) { impl_->release(sequence); }
std::uint64_t Engine::configure(const EngineOptions& options) { return impl_->configure(options); }
EngineInfo Engine::info() const { return impl_->info(); }
EngineStats Engine::stats() const { return impl_->stats(); }
std::vector<TimelineEvent> Engine::timeline(std::size_t limit) const { return impl_->timeline(limit); }
void Engine::shutdown() { impl_->shutdown(); }

}  // namespace splitwiser
