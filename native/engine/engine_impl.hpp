// The engine's inside. One mutex guards the state; lanes hold it to put a step together and to commit it, never
// while a step runs. engine.cpp: the face. scheduler.cpp: what runs next. lane_loop.cpp: running it.
// commit.cpp: what a step changes.
#pragma once

#include <array>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>

#include "engine/engine.hpp"
#include "engine/page_allocator.hpp"
#include "engine/step.hpp"
#include "engine/timeline.hpp"

namespace splitwiser {

class Engine::Impl {
 public:
  Impl(EngineParts parts, const EngineOptions& options, EventSink& sink);
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  std::uint64_t submit(RequestSpec spec);
  void abort(std::uint64_t id);
  std::uint64_t fork(std::uint64_t handle);
  void truncate(std::uint64_t handle, std::int64_t length);
  void release(std::uint64_t handle);
  std::uint64_t configure(const EngineOptions& options);
  [[nodiscard]] EngineInfo info() const;
  [[nodiscard]] EngineStats stats() const;
  [[nodiscard]] std::vector<TimelineEvent> timeline(std::size_t limit) const;
  void shutdown();

 private:
  using RequestPtr = std::shared_ptr<Request>;
  using Lock = std::unique_lock<std::mutex>;

  using Workspaces = std::array<std::unique_ptr<Workspace>, kPhases>;

  struct LaneState {
    std::unique_ptr<Workspace> workspace;
    bool busy = false;
    std::deque<Step> flying;             // issued, oldest first; its thread's own
    bool in_step = false;                // between begin_step() and end_step() of the backend's lane; likewise
    double last_end_ms = 0;              // of its last step
    LaneStats stats;
    std::thread thread;
  };
  struct Configuration {
    std::uint64_t id;
    EngineOptions options;
  };

  // engine.cpp
  [[nodiscard]] double now_ms() const;
  void start_lanes();
  void check_spec(const RequestSpec& spec) const;
  [[nodiscard]] std::shared_ptr<Sequence> held(std::uint64_t handle) const;
  [[nodiscard]] std::shared_ptr<Sequence> idle_held(std::uint64_t handle) const;
  [[nodiscard]] std::int64_t pages_to_reserve(const Request& request) const;
  // Null where the lane's own has that size already.
  [[nodiscard]] Workspaces make_workspaces(std::int64_t max_batch_tokens) const;
  void install_workspaces(Workspaces made);
  // The decode lane's: no schedule decodes on the other.
  void prepare_decode();
  void read_lane_info();
  void notify();
  // Hands the events collected so far to the sink, in order. Call without the lock.
  void flush();

  // scheduler.cpp
  void expire_deadlines(double now);
  [[nodiscard]] std::optional<double> next_deadline() const;
  void admit();
  struct Running {
    RequestPtr request;
    Choice* choice;
  };
  [[nodiscard]] std::vector<Running> decodable(Phase lane) const;
  [[nodiscard]] std::optional<Step> next_step(Phase lane, double now);
  [[nodiscard]] std::vector<RequestPtr> ranked(RequestState state, double now) const;
  void apply_configurations();

  // lane_loop.cpp
  void run_lane(Phase lane);
  void await_change(Lock& lock);
  template <typename Work>
  void attempt(Step& step, const Work& work);
  void issue(Step& step);
  void issue_plain(Lane& lane, Step& step);
  void issue_mixed(Lane& lane, Step& step);
  void complete(Step& step);
  void run_outputs(Lane& lane, Step& step, Tensor states, Workspace& workspace);
  void take_samples(Step& step);

  // commit.cpp
  void commit(Step& step);
  void lose_device(const Failure& failure);
  void commit_segment(Step& step, const Segment& segment);
  void commit_sample(const Step& step, SampledToken& sample);
  void record_timeline(const Step& step);
  void drop_pages(Choice& choice);
  void finish_choice(Request& request, Choice& choice, FinishReason reason, StopReason why);
  void cancel(const RequestPtr& request, Failure failure);
  void end_request(const RequestPtr& request);

  EventSink& sink_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Decoder> decoder_;
  std::shared_ptr<const Vocabulary> vocabulary_;
  KvShape kv_shape_;
  std::int64_t max_model_len_;
  std::unique_ptr<KvPool> pool_;
  std::int64_t origin_ns_;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::uint64_t changes_ = 0;      // counts what may give an idle lane work
  bool stopping_ = false;
  std::optional<Failure> lost_;    // the device runs nothing any more
  const std::size_t most_in_flight_;
  EngineOptions options_;
  Partition partition_ = Partition::none;
  std::vector<std::string> partition_notes_;
  LaneInfo lane_info_[kPhases];    // as obtained; the lanes themselves belong to their threads
  LaneState lanes_[kPhases];
  std::deque<Configuration> configurations_;
  PageAllocator allocator_;
  std::map<std::uint64_t, RequestPtr> requests_;                       // not ended, by id: order of arrival
  std::map<std::uint64_t, std::shared_ptr<Sequence>> held_;
  std::int64_t slots_used_ = 0;    // choices of admitted requests
  std::uint64_t last_request_ = 0;
  std::uint64_t last_handle_ = 0;
  std::uint64_t last_configuration_ = 0;
  std::uint64_t step_count_ = 0;
  std::int64_t prompt_tokens_ = 0;
  std::int64_t generated_tokens_ = 0;
  Timeline timeline_;
  std::vector<EngineEvent> outbox_;

  std::mutex delivery_mutex_;      // before mutex_: keeps batches of events in order
  std::mutex shutdown_mutex_;
};

}  // namespace splitwiser
