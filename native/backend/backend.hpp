// The one seam between the engine and a device. The engine, the model and the addon know these
// types only; backend/cpu, backend/cuda and backend/virtual implement them.
//
// Order of work. Ops issued on one lane run in the order of issue. Work of two lanes is unordered
// unless an Event says so: one lane records, the other waits (invariant 2). Everything that ops read
// through spans (token ids, page lists, sample rows) must stay alive until an event recorded after
// them is done.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sampling.hpp"  // kernels/: SamplingParams, TokenCount, TokenBias: shared with device code
#include "types.hpp"     // kernels/: DType, Activation

namespace splitwiser {

enum class Phase : std::uint8_t { prefill, decode };
inline constexpr int kPhases = 2;
[[nodiscard]] constexpr const char* name_of(Phase phase) {
  return phase == Phase::prefill ? "prefill" : "decode";
}

// ---- weights ---------------------------------------------------------------------------------

// A weight as it lies in a file: row-major [rows, cols], any alignment.
struct HostMatrix {
  const std::byte* data;
  DType dtype;
  std::int64_t rows;  // outputs
  std::int64_t cols;  // inputs
};

// A weight on the device, in the backend's own layout: [rows = outputs, cols = inputs].
class Matrix {
 public:
  virtual ~Matrix() = default;
  [[nodiscard]] virtual std::int64_t rows() const = 0;
  [[nodiscard]] virtual std::int64_t cols() const = 0;
  [[nodiscard]] virtual DType dtype() const = 0;
  [[nodiscard]] virtual std::size_t bytes() const = 0;
};

// A vector of f32 on the device: biases, norm weights.
class Vector {
 public:
  virtual ~Vector() = default;
  [[nodiscard]] virtual std::int64_t size() const = 0;
};

// ---- activations -----------------------------------------------------------------------------

// Row-major [rows, cols] in device memory, rows contiguous. A view: Buffer owns.
struct Tensor {
  void* data = nullptr;
  DType dtype = DType::f32;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
};

class Buffer {
 public:
  virtual ~Buffer() = default;
  [[nodiscard]] virtual void* data() = 0;
  [[nodiscard]] virtual std::size_t bytes() const = 0;
};

// ---- KV cache --------------------------------------------------------------------------------

struct KvShape {
  int layers;
  int kv_heads;
  int head_dim;
  int page_size;       // tokens; a multiple of 16
  std::int64_t pages;  // page ids are 0 .. pages - 1, the same id in every layer
  DType dtype;

  // Bytes of one page over all layers, keys and values.
  [[nodiscard]] std::size_t page_bytes() const {
    return std::size_t(2) * std::size_t(layers) * std::size_t(kv_heads) * std::size_t(head_dim) *
           std::size_t(page_size) * bytes_of(dtype);
  }
};

// The memory of all pages, one for both lanes. Which page belongs to whom is the engine's business.
class KvPool {
 public:
  virtual ~KvPool() = default;
  [[nodiscard]] virtual const KvShape& shape() const = 0;
};

// Copies the first `tokens` tokens of a page, in every layer.
struct PageCopy {
  std::int32_t from;
  std::int32_t to;
  std::int32_t tokens;
};

// ---- one forward pass ------------------------------------------------------------------------

// Rows of a step are the tokens of its segments, in order; a segment is a run of consecutive tokens
// of one sequence (one token in decode, a chunk of the prompt in prefill). A segment's pages hold
// the sequence from position 0 through the last token of this step, nothing after it.
struct StepInput {
  std::span<const std::int32_t> token_ids;      // [rows]
  std::span<const std::int32_t> positions;      // [rows]
  std::span<const std::int32_t> row_indptr;     // [segments + 1]: rows of segment s
  std::span<const std::int32_t> page_indptr;    // [segments + 1]: entries of page_indices of segment s
  std::span<const std::int32_t> page_indices;   // page ids
  std::span<const std::int32_t> last_page_len;  // [segments]: tokens in the last page, 1 .. page_size
  int page_size = 0;

  [[nodiscard]] std::int64_t rows() const { return std::int64_t(token_ids.size()); }
  [[nodiscard]] std::int64_t segments() const { return std::int64_t(last_page_len.size()); }
  // Tokens of segment s in the cache once this step has written its own.
  [[nodiscard]] std::int64_t kv_length(std::int64_t s) const {
    const auto i = std::size_t(s);
    return std::int64_t(page_indptr[i + 1] - page_indptr[i] - 1) * page_size + last_page_len[i];
  }
};

struct AttentionSpec {
  int heads;     // query heads
  int kv_heads;  // divides heads
  int head_dim;
  float scale;   // multiplies q . k
};

// y = activation(x W^T + bias) + residual, in this order, one rounding to the output's type.
struct Epilogue {
  const Vector* bias = nullptr;
  Activation activation = Activation::none;
  const Tensor* residual = nullptr;  // [rows, outputs]; may be the output itself
};

// (x - mean) / sqrt(variance + eps) * weight + bias over a row, rounded to its type.
struct LayerNorm {
  const Vector* weight;
  const Vector* bias;
  float eps;
};

struct SampleRow {
  std::int64_t row;  // of the logits tensor
  SamplingParams params{};
  std::span<const TokenCount> counts{};       // tokens seen so far, for penalties; distinct ids
  std::span<const TokenBias> bias{};          // distinct ids
  std::span<const std::int32_t> endings{};    // ids that end the sequence
  bool forbids_endings = false;               // they become -inf (while minTokens is not reached)
  std::uint64_t seed = 0;
  std::uint32_t choice = 0;                   // index among n
  std::uint32_t position = 0;                 // position in the sequence of the token that is drawn
  int top_logprobs = -1;                      // -1: none wanted; 0: of the sampled token only
  bool sample = true;                         // false: only logprobs, of `target` (prompt logprobs)
  std::int32_t target = -1;

  [[nodiscard]] std::span<const std::int32_t> forbidden() const { return forbids_endings ? endings : std::span<const std::int32_t>{}; }
};

struct TokenLogprobValue {
  std::int32_t token;
  float logprob;
};

struct SampleResult {
  std::int32_t token = -1;
  std::int32_t ending = -1;                 // the first of the row's endings that the drawn token is, from 0; -1: none
  float logprob = 0;                        // of `token`, from the model's own logits (before penalties)
  std::vector<TokenLogprobValue> top;       // best first, lowest id first among equals
};

// SampleResult::ending, for backends that sample on the host.
[[nodiscard]] inline std::int32_t ending_of(const SampleRow& row, std::int32_t token) {
  const auto at = std::ranges::find(row.endings, token);
  return !row.sample || at == row.endings.end() ? -1 : std::int32_t(at - row.endings.begin());
}

class Ops {
 public:
  virtual ~Ops() = default;

  // out[r] = tokens[token_ids[r]] (+ positions[positions[r] + position_offset] when there is a table).
  virtual void embed(const StepInput& in, const Matrix& tokens, const Matrix* positions, int position_offset,
                     Tensor out) = 0;
  // out[r] += positions[positions[r] + position_offset]: where the token embedding is projected first.
  virtual void add_positions(const StepInput& in, const Matrix& positions, int position_offset, Tensor out) = 0;
  // x [rows, w.cols] -> out [rows, w.rows].
  virtual void linear(Tensor x, const Matrix& w, const Epilogue& epilogue, Tensor out) = 0;
  // out may be x.
  virtual void layer_norm(Tensor x, const LayerNorm& norm, Tensor out) = 0;
  // linear(norm(x)): the same bits as one after the other. `normed` is room for norm(x), and undefined afterwards.
  virtual void norm_linear(Tensor x, const LayerNorm& norm, Tensor normed, const Matrix& w, const Epilogue& epilogue,
                           Tensor out) {
    layer_norm(x, norm, normed);
    linear(normed, w, epilogue, out);
  }
  // qkv [rows, (heads + 2 kv_heads) * head_dim], [q | k | v]: writes k and v to the cache at each row's position.
  virtual void write_kv(const StepInput& in, KvPool& pool, int layer, const AttentionSpec& spec, Tensor qkv) = 0;
  // Causal attention of each row over its sequence's pages (written before, this step's rows included).
  virtual void attention(const StepInput& in, const KvPool& pool, int layer, const AttentionSpec& spec, Tensor qkv,
                         Tensor out) = 0;
  // out[i] = x[rows[i]].
  virtual void gather_rows(Tensor x, std::span<const std::int32_t> rows, Tensor out) = 0;
  virtual void copy_pages(KvPool& pool, std::span<const PageCopy> copies) = 0;
  // Logits are f32 [rows, vocab]; changed in place by penalties.
  virtual void sample(Tensor logits, std::span<const SampleRow> rows, std::span<SampleResult> results) = 0;
  // Copies device memory to the host once the lane reaches it.
  virtual void read(Tensor from, std::span<std::byte> to) = 0;
};

// ---- lanes -----------------------------------------------------------------------------------

// A point in a lane's work. Shared: the engine keeps it beside the sequence that it guards.
class Event {
 public:
  virtual ~Event() = default;
  [[nodiscard]] virtual bool done() const = 0;
};

// A decode step that a device may keep as a graph: every segment has one row, every row one sample without penalties,
// bias, forbidden endings or logprobs, in order. A token id below 0 is not known to the host yet: -1 - r stands for what this
// lane's decode step before drew for its row r (only where Backend::steps_in_flight() > 1). Where that was one of the row's
// endings, the device may pass over the row: its result means nothing.
struct DecodeStep {
  StepInput input;
  std::span<const SampleRow> samples;  // one per row
  std::span<SampleResult> results;     // filled by the time that synchronize() returns for an event recorded after it
};

// The whole of a decode step, written in ops.
using DecodeProgram =
    std::function<void(const StepInput&, std::span<const SampleRow>, std::span<SampleResult>)>;

struct LaneInfo {
  int cores = 0;       // CPU: cores of its own (0: it shares one core with the other lane)
  double share = 0;    // of the device, 0 .. 1, as obtained
  int sms = 0;         // GPU: multiprocessors, as read back
};

// Where a phase's work is issued. One thread uses a lane at a time.
class Lane {
 public:
  virtual ~Lane() = default;
  [[nodiscard]] virtual Ops& ops() = 0;
  // Bracket a step, or a run of decode() steps of which several are in flight; end_step() comes when all are done.
  // Outside of them a lane is idle and its cores may help the other lane.
  virtual void begin_step() = 0;
  virtual void end_step() = 0;
  // Once, at load, before the first step: the program of decode(). A device with graphs makes them here, for steps of up
  // to `max_rows` rows.
  virtual void prepare_decode(DecodeProgram program, std::int64_t max_rows) {
    (void)max_rows;
    program_ = std::move(program);
  }
  virtual void decode(const DecodeStep& step) { program_(step.input, step.samples, step.results); }
  // Between layer groups: lanes that share a core take turns here.
  virtual void yield_point() = 0;
  [[nodiscard]] virtual std::shared_ptr<Event> record() = 0;
  virtual void wait(const std::shared_ptr<Event>& event) = 0;   // this lane's later work comes after the event
  virtual void synchronize(const Event& event) = 0;             // the calling thread waits
  [[nodiscard]] virtual LaneInfo info() const = 0;
  // Since it was last asked: multiprocessors of this lane may have had work of the other one, which went to the whole
  // device before the lanes parted.
  [[nodiscard]] virtual bool take_shared_sms() { return false; }

 protected:
  DecodeProgram program_;
};

// ---- backend ---------------------------------------------------------------------------------

enum class Partition : std::uint8_t { none, cores, priority, cta_quota, mps, green_context };
[[nodiscard]] constexpr const char* name_of(Partition partition) {
  switch (partition) {
    case Partition::none: return "none";
    case Partition::cores: return "cores";
    case Partition::priority: return "priority";
    case Partition::cta_quota: return "cta-quota";
    case Partition::mps: return "mps";
    case Partition::green_context: return "green-context";
  }
  return "none";
}

struct PartitionRequest {
  std::optional<Partition> kind;           // nothing: the backend's best
  std::optional<double> prefill_share;     // 0 .. 1 exclusive; nothing: half
};

class Backend {
 public:
  virtual ~Backend() = default;
  [[nodiscard]] virtual std::string name() const = 0;
  [[nodiscard]] virtual DType activation_dtype() const = 0;

  // Rows of the sources stacked ([sum of rows, cols]); stored as `storage`. Reads each source once.
  [[nodiscard]] virtual std::unique_ptr<Matrix> pack(std::span<const HostMatrix> stacked, DType storage) = 0;
  // Sources (rows = 1) concatenated and widened to f32.
  [[nodiscard]] virtual std::unique_ptr<Vector> upload(std::span<const HostMatrix> concatenated) = 0;
  [[nodiscard]] virtual std::unique_ptr<Buffer> allocate(std::size_t bytes) = 0;  // throws out_of_memory
  [[nodiscard]] virtual std::unique_ptr<KvPool> make_kv_pool(const KvShape& shape) = 0;

  [[nodiscard]] virtual Lane& lane(Phase phase) = 0;
  // Only while both lanes are between steps. Returns what was obtained.
  virtual Partition configure(const PartitionRequest& request) = 0;
  // Why better partitions than the one obtained were not to be had, one sentence each, best first.
  [[nodiscard]] virtual std::vector<std::string> partition_notes() const { return {}; }
  // Decode steps that may be issued before the first of them is done.
  [[nodiscard]] virtual int steps_in_flight() const { return 1; }
};

}  // namespace splitwiser
