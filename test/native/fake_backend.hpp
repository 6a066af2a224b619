// A device for engine tests that does no arithmetic but notices every mistake in the order of work.
//
// A row of activations is one 64-bit hash, spread over the row. Each op mixes it with what it reads, and attention
// folds in the hash of every earlier token from the pages, read when the op runs: one stale, missing, early-freed or
// overwritten slot changes every later token. fake_model.hpp computes the same hashes from the token list alone.
//
// Lanes are truly asynchronous: each has a thread that runs its ops in order, by chance soon after they are issued or
// only when somebody waits for them. Hazards (see HazardLog) are what a GPU would do wrong only now and then.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "backend/backend.hpp"
#include "sampling_host.hpp"
#include "support/error.hpp"

namespace splitwiser::fake {

enum class OpKind { embed, add_positions, linear, layer_norm, write_kv, attention, gather, copy_pages, sample, read, wait, record };

// Mixes b into a; every bit of both counts.
[[nodiscard]] std::uint64_t mix(std::uint64_t a, std::uint64_t b);
// The logit of a token for a final state: a multiple of 2^-12 in [0, 16).
[[nodiscard]] float logit_of(std::uint64_t state, std::int64_t token);

// What went wrong, in words. Shared with the test: it outlives the engine that owns the backend.
class HazardLog {
 public:
  void add(const std::string& what);
  [[nodiscard]] std::vector<std::string> list() const;

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> list_;
  std::map<std::string, int> count_;
};

class FakeMatrix final : public Matrix {
 public:
  FakeMatrix(std::uint64_t id, std::int64_t rows, std::int64_t cols, bool makes_logits = false)
      : id_(id), rows_(rows), cols_(cols), makes_logits_(makes_logits) {}
  [[nodiscard]] std::int64_t rows() const override { return rows_; }
  [[nodiscard]] std::int64_t cols() const override { return cols_; }
  [[nodiscard]] DType dtype() const override { return DType::f32; }
  [[nodiscard]] std::size_t bytes() const override { return std::size_t(rows_ * cols_) * 4; }
  [[nodiscard]] std::uint64_t id() const { return id_; }
  [[nodiscard]] bool makes_logits() const { return makes_logits_; }

 private:
  std::uint64_t id_;
  std::int64_t rows_, cols_;
  bool makes_logits_;
};

class FakeVector final : public Vector {
 public:
  FakeVector(std::uint64_t id, std::int64_t size) : id_(id), size_(size) {}
  [[nodiscard]] std::int64_t size() const override { return size_; }
  [[nodiscard]] std::uint64_t id() const { return id_; }

 private:
  std::uint64_t id_;
  std::int64_t size_;
};

// For each lane, how many of its ops are known to be over. Only events carry this from lane to lane: that the host
// happened to wait in between is no order that a lane can rely on (invariant 2).
using VectorClock = std::array<std::uint64_t, kPhases>;

// Key and value of one token in one layer.
struct Slot {
  std::uint64_t value = 0;
  std::int64_t position = -1;  // -1: never written
  int writer = 0;              // lane
  std::uint64_t time = 0;      // of the writer's clock
};

class FakePool final : public KvPool {
 public:
  explicit FakePool(const KvShape& shape);
  [[nodiscard]] const KvShape& shape() const override { return shape_; }

  // The rest holds mutex.
  [[nodiscard]] Slot& slot(int layer, std::int64_t page, std::int64_t offset);
  // Stamps of the reads of a page that were issued on a lane and have not run yet, in their order.
  [[nodiscard]] std::deque<std::uint64_t>& pending_reads(int lane, std::int32_t page) {
    return pending_[std::size_t(lane)][std::size_t(page)];
  }
  [[nodiscard]] std::uint64_t next_stamp() { return ++last_stamp_; }

  mutable std::mutex mutex;

 private:
  KvShape shape_;
  std::vector<Slot> slots_;
  std::array<std::vector<std::deque<std::uint64_t>>, kPhases> pending_;
  std::uint64_t last_stamp_ = 0;
};

// Which memory is whose. Lane 0, 1, or -1 while no lane has used it.
class BufferRegistry {
 public:
  void add(const void* base, std::size_t bytes);
  void remove(const void* base);
  // Claims the buffer around [data, data + bytes) for a lane; says what is wrong, or nothing.
  [[nodiscard]] std::string claim(const void* data, std::size_t bytes, int lane);
  [[nodiscard]] std::size_t bytes() const;

 private:
  struct Entry {
    std::size_t bytes;
    int lane;
  };
  mutable std::mutex mutex_;
  std::map<std::uintptr_t, Entry> entries_;
};

class FakeEvent;

class FakeLane final : public Lane, private Ops {
 public:
  FakeLane(Phase phase, std::uint64_t seed, std::shared_ptr<HazardLog> hazards, std::shared_ptr<BufferRegistry> buffers);
  ~FakeLane() override;

  [[nodiscard]] Ops& ops() override { return *this; }
  void begin_step() override;
  void end_step() override;
  void decode(const DecodeStep& step) override;
  void yield_point() override;
  [[nodiscard]] std::shared_ptr<Event> record() override;
  void wait(const std::shared_ptr<Event>& event) override;
  void synchronize(const Event& event) override;
  [[nodiscard]] LaneInfo info() const override { return {.cores = 1, .share = 0.5}; }

  // ---- for tests -----------------------------------------------------------------------------
  // Ops of this kind and all after them stay undone until resume(): a step in flight for as long as a test likes.
  void hold(OpKind before);
  void wait_until_held();
  void resume();
  // The same for the thread that issues, between two layers.
  void hold_issue();
  void wait_until_issue_held();
  void resume_issue();
  // Of decode() steps.
  [[nodiscard]] int most_steps_in_flight() const {
    const std::lock_guard lock(mutex_);
    return most_steps_in_flight_;
  }
  // The next op of this kind throws where it is issued.
  void fail_next(OpKind kind, ErrorCode code);
  [[nodiscard]] bool busy() const {
    const std::lock_guard lock(mutex_);
    return in_step_ || executed_ != issued_;
  }

 private:
  friend class FakeEvent;
  struct Work {
    OpKind kind;
    bool eager;
    std::function<void()> run;
  };

  void embed(const StepInput& in, const Matrix& tokens, const Matrix* positions, int position_offset, Tensor out) override;
  void add_positions(const StepInput& in, const Matrix& positions, int position_offset, Tensor out) override;
  void linear(Tensor x, const Matrix& w, const Epilogue& epilogue, Tensor out) override;
  void layer_norm(Tensor x, const LayerNorm& norm, Tensor out) override;
  void write_kv(const StepInput& in, KvPool& pool, int layer, const AttentionSpec& spec, Tensor qkv) override;
  void attention(const StepInput& in, const KvPool& pool, int layer, const AttentionSpec& spec, Tensor qkv, Tensor out) override;
  void gather_rows(Tensor x, std::span<const std::int32_t> rows, Tensor out) override;
  void copy_pages(KvPool& pool, std::span<const PageCopy> copies) override;
  void sample(Tensor logits, std::span<const SampleRow> rows, std::span<SampleResult> results) override;
  void read(Tensor from, std::span<std::byte> to) override;

  // fake_ops.cpp
  [[nodiscard]] std::uint64_t get(Tensor tensor, std::int64_t row);
  void put(Tensor tensor, std::int64_t row, std::uint64_t hash);
  void check(Tensor tensor);
  [[nodiscard]] std::uint64_t read_slot(FakePool& pool, int layer, std::int64_t page, std::int64_t position);
  void check_overwrite(FakePool& pool, std::int32_t page, std::uint64_t stamp);
  void hazard(const std::string& what);

  // fake_backend.cpp
  // `accepted` is called when the op is in the queue for certain.
  void issue(OpKind kind, std::function<void()> run, const std::function<void()>& accepted = {});
  void demand(std::uint64_t count);
  void await(std::uint64_t count);
  void execute();

  const Phase phase_;
  std::shared_ptr<HazardLog> hazards_;
  std::shared_ptr<BufferRegistry> buffers_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Work> queue_;
  std::uint64_t issued_ = 0;
  std::uint64_t executed_ = 0;
  std::uint64_t demanded_ = 0;   // ops below this number must run
  bool stopping_ = false;
  std::optional<OpKind> hold_;
  bool held_ = false;
  bool hold_issue_ = false;
  bool issue_held_ = false;
  std::optional<std::pair<OpKind, ErrorCode>> failure_;
  bool in_step_ = false;
  int steps_in_flight_ = 0;
  int most_steps_in_flight_ = 0;
  std::thread::id step_thread_;
  std::minstd_rand chance_;

  // The executor's own.
  VectorClock clock_{};
  SampleScratch scratch_;
  std::vector<std::int32_t> drawn_;  // by the last sample op

  std::thread thread_;  // last: the rest is there when it starts
};

class FakeBackend final : public Backend {
 public:
  FakeBackend(std::uint64_t seed, std::shared_ptr<HazardLog> hazards, int steps_in_flight = 1);

  [[nodiscard]] std::string name() const override { return "fake"; }
  [[nodiscard]] DType activation_dtype() const override { return DType::f32; }
  [[nodiscard]] std::unique_ptr<Matrix> pack(std::span<const HostMatrix> stacked, DType storage) override;
  [[nodiscard]] std::unique_ptr<Vector> upload(std::span<const HostMatrix> concatenated) override;
  [[nodiscard]] std::unique_ptr<Buffer> allocate(std::size_t bytes) override;
  [[nodiscard]] std::unique_ptr<KvPool> make_kv_pool(const KvShape& shape) override;
  [[nodiscard]] FakeLane& lane(Phase phase) override { return *lanes_[std::size_t(phase)]; }
  Partition configure(const PartitionRequest& request) override;
  [[nodiscard]] int steps_in_flight() const override { return steps_in_flight_; }

  // Bytes of buffers that may be alive at once.
  void limit_memory(std::size_t bytes) { memory_limit_ = bytes; }
  // And no buffer can be had from then on.
  void refuse_next_configure() { refuse_configure_ = true; }

 private:
  std::shared_ptr<HazardLog> hazards_;
  std::shared_ptr<BufferRegistry> buffers_;
  std::atomic<std::size_t> memory_limit_{~std::size_t(0)};
  std::atomic<bool> refuse_configure_{false};
  const int steps_in_flight_;
  std::uint64_t last_id_ = 1 << 20;  // apart from fake_model's
  std::array<std::unique_ptr<FakeLane>, kPhases> lanes_;
};

}  // namespace splitwiser::fake
