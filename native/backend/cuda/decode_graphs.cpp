#include "backend/cuda/decode_graphs.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "step.hpp"

namespace splitwiser::cuda {
namespace {

constexpr std::size_t kAlignment = 256;
// Graphs are made for lengths of up to 512, 2,048, 8,192, ... tokens: a shorter bound means fewer blocks without work.
constexpr std::int64_t kFirstLength = kSplitKeys;
constexpr std::int64_t kLengthFactor = 4;
// Rows of a step whose tokens the next one may ask for: steps that go op by op may be larger than any graph.
constexpr std::int64_t kLeastDrawn = 1024;
// A graph whose partial results would take more than this is left out: such steps are issued op by op.
constexpr std::size_t kMostPartialBytes = std::size_t(64) << 20;

std::vector<std::int64_t> row_buckets(std::int64_t most) {
  std::vector<std::int64_t> buckets;
  for (std::int64_t rows = 1; rows < most; rows *= 2) buckets.push_back(rows);
  buckets.push_back(most);
  return buckets;
}

std::vector<std::int64_t> length_bounds(std::int64_t most) {
  std::vector<std::int64_t> bounds;
  for (std::int64_t length = kFirstLength; length < most; length *= kLengthFactor) bounds.push_back(length);
  bounds.push_back(most);
  return bounds;
}

// A step of that many rows whose content nobody looks at.
struct BlankStep {
  explicit BlankStep(std::int64_t rows, int page_size)
      : zeros(std::size_t(rows), 0), ones(std::size_t(rows), 1), ascending(std::size_t(rows) + 1), samples(std::size_t(rows)),
        results(std::size_t(rows)), page_size_(page_size) {
    std::iota(ascending.begin(), ascending.end(), 0);
    for (std::size_t i = 0; i < samples.size(); i++) samples[i].row = std::int64_t(i);
  }
  [[nodiscard]] DecodeStep step() {
    return {{zeros, zeros, ascending, ascending, zeros, ones, page_size_}, samples, results};
  }

  std::vector<std::int32_t> zeros, ones, ascending;
  std::vector<SampleRow> samples;
  std::vector<SampleResult> results;
  int page_size_;
};

}  // namespace

// Where arrays lie in memory_. Everything from `counts` on is sent by the host; pages come last and may be any number.
struct DecodeGraphs::Offsets {
  std::size_t identity, drawn, outputs, counts, token_ids, positions, row_segments, row_indptr, kv_lengths, page_indptr, slots,
      pages;

  explicit Offsets(std::int64_t max_rows) {
    const auto rows = std::size_t(max_rows);
    std::size_t end = 0;
    const auto place = [&](std::size_t count, std::size_t size) {
      const std::size_t at = end;
      end = (end + count * size + kAlignment - 1) / kAlignment * kAlignment;
      return at;
    };
    identity = place(rows + 1, sizeof(std::int32_t));
    drawn = place(std::max(rows, std::size_t(kLeastDrawn)), sizeof(std::int32_t));
    outputs = place(rows, sizeof(SampleOutput));
    counts = place(2, sizeof(std::int32_t));
    token_ids = place(rows, sizeof(std::int32_t));
    positions = place(rows, sizeof(std::int32_t));
    row_segments = place(rows, sizeof(std::int32_t));
    row_indptr = place(rows + 1, sizeof(std::int32_t));
    kv_lengths = place(rows, sizeof(std::int32_t));
    page_indptr = place(rows + 1, sizeof(std::int32_t));
    slots = place(rows, sizeof(SampleSlot));
    pages = end;
  }
};

DecodeGraphs::DecodeGraphs(LaneCore& lane, CudaOps& ops)
    : lane_(lane), ops_(ops), memory_(lane.shared_device(), "the inputs of decode graphs") {}

DecodeGraphs::~DecodeGraphs() { clear(); }

void DecodeGraphs::clear() {
  for (const Graph& graph : graphs_) lane_.driver().GraphExecDestroy(graph.exec);
  graphs_.clear();
  forget();
}

void DecodeGraphs::lay_out(std::int64_t max_rows) {
  if (max_rows == max_rows_) return;
  clear();
  const Offsets at(max_rows);
  memory_.grow(at.pages);
  std::byte* base = memory_.data();
  const auto ints = [&](std::size_t offset) { return reinterpret_cast<std::int32_t*>(base + offset); };
  arrays_.view = {ints(at.token_ids),   ints(at.positions), ints(at.row_segments), ints(at.row_indptr),
                  ints(at.page_indptr), ints(at.pages),     ints(at.kv_lengths),   ints(at.counts),
                  std::int32_t(max_rows), std::int32_t(max_rows)};
  arrays_.identity = ints(at.identity);
  arrays_.drawn = ints(at.drawn);
  arrays_.outputs = reinterpret_cast<SampleOutput*>(base + at.outputs);
  arrays_.slots = reinterpret_cast<SampleSlot*>(base + at.slots);
  const std::size_t bytes = std::size_t(max_rows + 1) * sizeof(std::int32_t);
  const Staging::Block block = lane_.staging().take(bytes);
  auto* numbers = reinterpret_cast<std::int32_t*>(block.host);
  std::iota(numbers, numbers + max_rows + 1, 0);
  lane_.copy_in(base + at.identity, block.host, bytes);
  max_rows_ = max_rows;
}

GraphArrays DecodeGraphs::arrays_for(std::int64_t rows, std::int64_t max_length) const {
  GraphArrays arrays = arrays_;
  arrays.view.rows = arrays.view.segments = std::int32_t(rows);
  arrays.max_kv_length = max_length;
  return arrays;
}

void DecodeGraphs::prepare(const DecodeProgram& program, std::int64_t max_rows, std::int64_t max_tokens, int page_size,
                           std::span<const LanePlace> places) {
  lay_out(max_rows);
  const auto nodes = [&](const DecodeStep& step, const GraphArrays& arrays) {
    auto* ids = const_cast<std::int32_t*>(arrays.view.token_ids);
    auto* positions = const_cast<std::int32_t*>(arrays.view.positions);
    auto* lengths = const_cast<std::int32_t*>(arrays.view.kv_lengths);
    const std::int32_t rows = arrays.view.rows;
    const StepFeedParams feed{ids, arrays.drawn, ids, arrays.view.counts, rows};
    const StepAdvanceParams advance{arrays.drawn, ids, positions, lengths, arrays.slots, arrays.view.counts, rows};
    struct GraphScope {
      CudaOps& ops;
      ~GraphScope() { ops.use_graph(nullptr); }
    } scope{ops_};
    ops_.use_graph(&arrays);
    lane_.launch(plan_step_feed(feed, lane_.shape()), feed);
    program(step.input, step.samples, step.results);
    lane_.launch(plan_step_advance(advance, lane_.shape()), advance);
  };

  const auto lengths = length_bounds(max_tokens);
  const auto buckets = row_buckets(max_rows);
  BlankStep largest(max_rows, page_size);
  lane_.enter(places.front());
  const GraphArrays all = arrays_for(max_rows, lengths.front());
  LaunchList work = lane_.rehearse([&] { nodes(largest.step(), all); });
  if (work != work_) clear();
  work_ = std::move(work);

  for (const LanePlace& place : places) {
    lane_.enter(place);
    for (const std::int64_t rows : buckets) {
      BlankStep blank(rows, page_size);
      for (const std::int64_t length : lengths) {
        const Graph* there = find(place, rows, length);
        if (there != nullptr && there->rows == rows && there->max_length == length) continue;
        const GraphArrays arrays = arrays_for(rows, length);
        static_cast<void>(lane_.rehearse([&] { nodes(blank.step(), arrays); }));
        if (lane_.rehearsed_partials() > kMostPartialBytes) continue;
        static_cast<void>(lane_.partials(lane_.rehearsed_partials()));
        const CUgraphExec exec = lane_.capture([&] { nodes(blank.step(), arrays); });
        graphs_.push_back({place.stream.get(), place.shape.sms, place.quota_sms, rows, length, exec});
      }
    }
  }
}

// The smallest that is large enough.
const DecodeGraphs::Graph* DecodeGraphs::find(const LanePlace& place, std::int64_t rows, std::int64_t length) const {
  const Graph* best = nullptr;
  for (const Graph& graph : graphs_) {
    if (graph.stream != place.stream.get() || graph.sms != place.shape.sms || graph.quota_sms != place.quota_sms) continue;
    if (graph.rows < rows || graph.max_length < length) continue;
    if (best == nullptr || graph.rows < best->rows || (graph.rows == best->rows && graph.max_length < best->max_length)) {
      best = &graph;
    }
  }
  return best;
}

void DecodeGraphs::send(const DecodeStep& step) {
  const Offsets at(max_rows_);
  const StepInput& in = step.input;
  const auto rows = std::size_t(in.rows());
  const std::size_t bytes = at.pages - at.counts + in.page_indices.size_bytes();
  wanted_.assign(bytes, std::byte{0});
  const auto ints = [&](std::size_t offset) { return reinterpret_cast<std::int32_t*>(wanted_.data() + (offset - at.counts)); };
  ints(at.counts)[0] = ints(at.counts)[1] = std::int32_t(rows);
  std::ranges::copy(in.token_ids, ints(at.token_ids));
  std::ranges::copy(in.positions, ints(at.positions));
  std::iota(ints(at.row_segments), ints(at.row_segments) + rows, 0);
  std::ranges::copy(in.row_indptr, ints(at.row_indptr));
  std::ranges::copy(in.page_indptr, ints(at.page_indptr));
  std::ranges::copy(in.page_indices, ints(at.pages));
  auto* slots = reinterpret_cast<SampleSlot*>(wanted_.data() + (at.slots - at.counts));
  for (std::size_t i = 0; i < rows; i++) {
    ints(at.kv_lengths)[i] = std::int32_t(in.kv_length(std::int64_t(i)));
    // Member by member: the bytes between them stay zero and can be compared.
    const SampleRow& row = step.samples[i];
    SampleSlot& slot = slots[i];
    slot.params = row.params;
    slot.seed = row.seed;
    slot.row = row.row;
    slot.choice = row.choice;
    slot.position = row.position;
    slot.top_logprobs = -1;
    slot.sample = 1;
  }
  if (wanted_ != sent_) {
    memory_.grow(at.pages + in.page_indices.size_bytes());
    const Staging::Block block = lane_.staging().take(bytes);
    std::memcpy(block.host, wanted_.data(), bytes);
    lane_.copy_in(memory_.data() + at.counts, block.host, bytes);
  }
  // The graph's last node advances the arrays: what they hold then is known but for the tokens, row r's drawn by row r.
  for (std::size_t i = 0; i < rows; i++) {
    ints(at.token_ids)[i] = -1 - std::int32_t(i);
    ints(at.positions)[i]++;
    ints(at.kv_lengths)[i]++;
    slots[i].position++;
  }
  sent_.swap(wanted_);
}

std::int64_t DecodeGraphs::most_drawn() const { return max_rows_ == 0 ? 0 : std::max(max_rows_, kLeastDrawn); }

bool DecodeGraphs::run(const DecodeStep& step) {
  const StepInput& in = step.input;
  const auto rows = std::size_t(in.rows());
  std::int64_t longest = 0;
  for (std::int64_t s = 0; s < in.segments(); s++) longest = std::max(longest, in.kv_length(s));
  const Graph* graph = in.rows() > 0 && in.rows() <= max_rows_ ? find(lane_.place(), in.rows(), longest) : nullptr;
  if (graph == nullptr) return false;
  if (in.segments() != in.rows() || in.positions.size() != rows || step.samples.size() != rows || step.results.size() < rows) {
    throw Error(ErrorCode::internal, "decode: expected one row and one sample of each segment");
  }
  send(step);
  lane_.device().check(lane_.driver().GraphLaunch(graph->exec, lane_.stream().handle()), "a decode step");
  const Staging::Block block = lane_.staging().take(rows * sizeof(SampleOutput));
  lane_.copy_out(block.host, arrays_.outputs, block.bytes);
  lane_.when_done([outputs = reinterpret_cast<const SampleOutput*>(block.host), results = step.results.first(rows)] {
    for (std::size_t i = 0; i < results.size(); i++) results[i] = {outputs[i].token, 0, {}};
  });
  return true;
}

}  // namespace splitwiser::cuda
