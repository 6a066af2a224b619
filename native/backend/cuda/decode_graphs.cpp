#include "backend/cuda/decode_graphs.hpp"

#include <algorithm>
#include <bit>
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
// Entries of a step's lists: of all ids that end rows, and of one row's pages.
constexpr std::size_t kLeastEndings = 64;
constexpr std::size_t kLeastPages = 16;
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

// Where arrays lie: those of the device alone in own_, what the host says of a step in told_, lists last.
struct DecodeGraphs::Offsets {
  std::size_t identity, drawn, ended, kv_lengths, outputs, own_bytes;
  std::size_t counts, token_ids, positions, lengths, page_indptr, slots, lists;

  explicit Offsets(std::int64_t max_rows) {
    const auto rows = std::size_t(max_rows);
    const std::size_t handed_on = std::max(rows, std::size_t(kLeastDrawn));
    std::size_t end = 0;
    const auto place = [&](std::size_t count, std::size_t size) {
      const std::size_t at = end;
      end = (end + count * size + kAlignment - 1) / kAlignment * kAlignment;
      return at;
    };
    identity = place(rows + 1, sizeof(std::int32_t));
    drawn = place(handed_on, sizeof(std::int32_t));
    ended = place(handed_on, sizeof(std::int32_t));
    kv_lengths = place(rows, sizeof(std::int32_t));
    outputs = place(rows, sizeof(SampleOutput));
    own_bytes = end;
    end = 0;
    counts = place(2, sizeof(std::int32_t));
    token_ids = place(rows, sizeof(std::int32_t));
    positions = place(rows, sizeof(std::int32_t));
    lengths = place(rows, sizeof(std::int32_t));
    page_indptr = place(rows, sizeof(std::int32_t));
    slots = place(rows, sizeof(SampleSlot));
    lists = end;
  }
};

DecodeGraphs::DecodeGraphs(LaneCore& lane, CudaOps& ops)
    : lane_(lane), ops_(ops), own_(lane.shared_device(), "the state of decode graphs"),
      told_(lane.shared_device(), "the inputs of decode graphs") {}

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
  own_.grow(at.own_bytes);
  told_.grow(at.lists);
  const auto own = [&](std::size_t offset) { return reinterpret_cast<std::int32_t*>(own_.data() + offset); };
  const auto told = [&](std::size_t offset) { return reinterpret_cast<std::int32_t*>(told_.device() + offset); };
  arrays_.identity = own(at.identity);
  arrays_.view = {told(at.token_ids),     told(at.positions), arrays_.identity,   arrays_.identity,
                  told(at.page_indptr),   told(at.lists),     own(at.kv_lengths), told(at.counts),
                  std::int32_t(max_rows), std::int32_t(max_rows)};
  arrays_.lengths = told(at.lengths);
  arrays_.drawn = {own(at.drawn), own(at.ended)};
  arrays_.outputs = reinterpret_cast<SampleOutput*>(own_.data() + at.outputs);
  arrays_.slots = reinterpret_cast<SampleSlot*>(told_.device() + at.slots);
  arrays_.endings = told(at.lists);
  const std::size_t bytes = std::size_t(max_rows + 1) * sizeof(std::int32_t);
  const Staging::Block block = lane_.staging().take(bytes);
  auto* numbers = reinterpret_cast<std::int32_t*>(block.host);
  std::iota(numbers, numbers + max_rows + 1, 0);
  lane_.copy_in(own_.data() + at.identity, block.host, bytes);
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
    auto* kv_lengths = const_cast<std::int32_t*>(arrays.view.kv_lengths);
    const std::int32_t rows = arrays.view.rows;
    const StepFeedParams feed{ids,        arrays.drawn.tokens, arrays.lengths,     ids,
                              kv_lengths, arrays.drawn.ended,  arrays.view.counts, rows};
    const StepAdvanceParams advance{arrays.drawn.tokens, ids, positions, arrays.lengths, arrays.slots, arrays.view.counts, rows};
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

// The room for a sequence's pages doubles when it is full. So one more page as a rule moves no other sequence's: it changes
// one piece of told_, and a row that joins behind the others only its own pieces.
void DecodeGraphs::tell(const DecodeStep& step) {
  const Offsets at(max_rows_);
  const StepInput& in = step.input;
  const auto rows = std::size_t(in.rows());
  std::vector<std::int32_t> endings;
  std::vector<SampleSlot> slots(rows);
  for (std::size_t i = 0; i < rows; i++) {
    const SampleRow& row = step.samples[i];
    SampleSlot& slot = slots[i];
    slot = slot_of(row);
    // One list for neighbours that end alike: most models' requests all do.
    if (i > 0 && std::ranges::equal(row.endings, step.samples[i - 1].endings)) {
      slot.endings_begin = slots[i - 1].endings_begin;
      slot.endings_end = slots[i - 1].endings_end;
    } else {
      slot.endings_begin = std::int32_t(endings.size());
      endings.insert(endings.end(), row.endings.begin(), row.endings.end());
      slot.endings_end = std::int32_t(endings.size());
    }
  }
  std::vector<std::int32_t> page_indptr(rows), lengths(rows);
  std::size_t entries = std::bit_ceil(std::max(endings.size(), kLeastEndings));
  for (std::size_t i = 0; i < rows; i++) {
    lengths[i] = std::int32_t(in.kv_length(std::int64_t(i)));
    page_indptr[i] = std::int32_t(entries);
    entries += std::bit_ceil(std::max(std::size_t(in.page_indptr[i + 1] - in.page_indptr[i]), kLeastPages));
  }

  told_.grow(at.lists + entries * sizeof(std::int32_t));
  const std::int32_t counts[2] = {std::int32_t(rows), std::int32_t(rows)};
  told_.put(at.counts, std::span<const std::int32_t>(counts));
  told_.put(at.token_ids, in.token_ids);
  told_.put(at.positions, in.positions);
  told_.put(at.lengths, std::span<const std::int32_t>(lengths));
  told_.put(at.page_indptr, std::span<const std::int32_t>(page_indptr));
  told_.put(at.slots, std::span<const SampleSlot>(slots));
  told_.put(at.lists, std::span<const std::int32_t>(endings));
  for (std::size_t i = 0; i < rows; i++) {
    const auto first = std::size_t(in.page_indptr[i]), last = std::size_t(in.page_indptr[i + 1]);
    told_.put(at.lists + std::size_t(page_indptr[i]) * sizeof(std::int32_t), in.page_indices.subspan(first, last - first));
  }
  told_.send(lane_);
  // The graph's last node advances the arrays: what they hold then is known but for the tokens, row r's drawn by row r.
  for (std::size_t i = 0; i < rows; i++) {
    told_.copy<std::int32_t>(at.token_ids)[i] = -1 - std::int32_t(i);
    told_.copy<std::int32_t>(at.positions)[i]++;
    told_.copy<std::int32_t>(at.lengths)[i]++;
    told_.copy<SampleSlot>(at.slots)[i].position++;
  }
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
  try {
    tell(step);
    lane_.device().check(lane_.driver().GraphLaunch(graph->exec, lane_.stream().handle()), "a decode step");
  } catch (...) {
    forget();  // it did not advance
    throw;
  }
  const Staging::Block block = lane_.staging().take(rows * sizeof(SampleOutput));
  lane_.copy_out(block.host, arrays_.outputs, block.bytes);
  lane_.when_done([outputs = reinterpret_cast<const SampleOutput*>(block.host), results = step.results.first(rows)] {
    for (std::size_t i = 0; i < results.size(); i++) results[i] = {outputs[i].token, outputs[i].ending, 0, {}};
  });
  return true;
}

}  // namespace splitwiser::cuda
