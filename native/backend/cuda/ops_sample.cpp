// Sampling: slots and their lists go to the device, tokens and logprobs come back through pinned memory.
#include <algorithm>
#include <cstring>
#include <limits>

#include "backend/cuda/graph_arrays.hpp"
#include "backend/cuda/ops.hpp"
#include "logprobs_host.hpp"
#include "sample.hpp"

namespace splitwiser::cuda {
namespace {

// The lists of all rows, one row after the other, behind the slots.
struct Lists {
  std::size_t counts = 0, bias = 0, endings = 0;
  [[nodiscard]] std::size_t entries() const { return counts + bias + endings; }
};

constexpr std::size_t kAlignment = 16;
std::size_t aligned(std::size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

template <typename T>
void append(T*& to, std::span<const T> values) {
  std::ranges::copy(values, to);
  to += values.size();
}

bool wants_logprobs(const SampleRow& row, std::int64_t vocab) {
  return row.top_logprobs >= 0 && (row.sample || (row.target >= 0 && row.target < vocab));
}

// More than the kernel keeps: the row itself is read, and the host finds them.
bool beyond_kernel(const SampleRow& row, std::int64_t vocab) {
  return wants_logprobs(row, vocab) && row.top_logprobs > kMaxTopLogprobs;
}

void check_rows(Tensor logits, std::span<const SampleRow> rows, std::size_t results) {
  bool fits = rows.size() <= results && logits.dtype == DType::f32;
  for (std::size_t i = 0; fits && i < rows.size(); i++) {
    fits = rows[i].row >= 0 && rows[i].row < logits.rows && (i == 0 || rows[i].row > rows[i - 1].row);
  }
  if (!fits) throw Error(ErrorCode::internal, "sample: expected rows of the logits in ascending order, each once");
}

}  // namespace

SampleSlot slot_of(const SampleRow& row) {
  SampleSlot slot{};
  slot.params = row.params;
  slot.seed = row.seed;
  slot.row = row.row;
  slot.choice = row.choice;
  slot.position = row.position;
  slot.target = row.target;
  slot.top_logprobs = -1;
  slot.sample = row.sample ? 1 : 0;
  slot.forbids_endings = row.forbids_endings ? 1 : 0;
  return slot;
}

void CudaOps::sample(Tensor logits, std::span<const SampleRow> rows, std::span<SampleResult> results) {
  if (graph_ != nullptr) return sample_graph(logits);
  if (rows.empty()) return;
  check_rows(logits, rows, results.size());
  const std::int64_t vocab = logits.cols;
  Lists total;
  bool wanted = false, changes = false;
  for (const SampleRow& row : rows) {
    total.counts += row.counts.size();
    total.bias += row.bias.size();
    total.endings += row.endings.size();
    wanted = wanted || wants_logprobs(row, vocab);
    changes = changes || !row.counts.empty() || !row.bias.empty() || !row.forbidden().empty();
  }

  const std::size_t counts_at = aligned(rows.size() * sizeof(SampleSlot));
  const std::size_t bias_at = counts_at + aligned(total.counts * sizeof(TokenCount));
  const std::size_t endings_at = bias_at + aligned(total.bias * sizeof(TokenBias));
  const Staging::Block block = lane_.staging().take(endings_at + aligned(total.endings * sizeof(std::int32_t)));
  auto* slots = reinterpret_cast<SampleSlot*>(block.host);
  auto* counts = reinterpret_cast<TokenCount*>(block.host + counts_at);
  auto* bias = reinterpret_cast<TokenBias*>(block.host + bias_at);
  auto* endings = reinterpret_cast<std::int32_t*>(block.host + endings_at);
  Lists at;
  for (std::size_t i = 0; i < rows.size(); i++) {
    const SampleRow& row = rows[i];
    SampleSlot slot = slot_of(row);
    if (wants_logprobs(row, vocab)) slot.top_logprobs = beyond_kernel(row, vocab) ? 0 : row.top_logprobs;
    slot.counts_begin = std::int32_t(at.counts);
    slot.counts_end = std::int32_t(at.counts += row.counts.size());
    slot.bias_begin = std::int32_t(at.bias);
    slot.bias_end = std::int32_t(at.bias += row.bias.size());
    slot.endings_begin = std::int32_t(at.endings);
    slot.endings_end = std::int32_t(at.endings += row.endings.size());
    slots[i] = slot;
    append(counts, row.counts);
    append(bias, row.bias);
    append(endings, row.endings);
  }
  lane_.send(block);

  const std::size_t top_at = aligned(rows.size() * sizeof(SampleOutput));
  const std::size_t top_bytes = wanted ? rows.size() * kMaxTopLogprobs * sizeof(LogprobOutput) : 0;
  const Staging::Block back = lane_.staging().take(top_at + top_bytes);
  SampleParams params{};
  params.logits = static_cast<float*>(logits.data);
  params.slots = reinterpret_cast<const SampleSlot*>(block.device);
  params.counts = reinterpret_cast<const TokenCount*>(block.device + counts_at);
  params.bias = reinterpret_cast<const TokenBias*>(block.device + bias_at);
  params.endings = reinterpret_cast<const std::int32_t*>(block.device + endings_at);
  params.outputs = reinterpret_cast<SampleOutput*>(back.host);
  params.top = wanted ? reinterpret_cast<LogprobOutput*>(back.host + top_at) : nullptr;
  params.tokens = drawn_.tokens;
  params.ended = drawn_.ended;
  params.vocab = vocab;
  params.count = std::int32_t(rows.size());
  if (wanted) {
    params.scratch = reinterpret_cast<std::uint64_t*>(lane_.sample_scratch(
        std::size_t(sample_scratch_bytes(std::int64_t(rows.size()), std::int64_t(total.entries())))));
  }

  // Rows that the host looks through are read before penalties change them.
  struct Wanted {
    std::int32_t top;         // -1: none
    const float* row;         // pinned; null: the kernel's list
  };
  std::vector<Wanted> each(rows.size());
  for (std::size_t i = 0; i < rows.size(); i++) {
    each[i] = {wants_logprobs(rows[i], vocab) ? rows[i].top_logprobs : -1, nullptr};
    if (!beyond_kernel(rows[i], vocab)) continue;
    const std::size_t bytes = std::size_t(vocab) * sizeof(float);
    std::byte* room = lane_.read_room(bytes);
    lane_.copy_out(room, static_cast<const float*>(logits.data) + rows[i].row * vocab, bytes);
    each[i].row = reinterpret_cast<const float*>(room);
    // Made into a list as soon as it is there: the room may be wanted for the next row.
    lane_.when_done([row = each[i].row, vocab, top = each[i].top, &result = results[i]] {
      const std::span<const float> values(row, std::size_t(vocab));
      top_logprobs(values, std::size_t(top), log_normalizer(values), result.top);
    });
  }

  lane_.launch(plan_logprobs(params, wanted, lane_.shape()), params);
  lane_.launch(plan_adjust(params, changes, lane_.shape()), params);
  launch_sample(params);
  lane_.when_done([each = std::move(each), results, outputs = params.outputs, top = params.top, vocab] {
    for (std::size_t i = 0; i < each.size(); i++) {
      SampleResult& result = results[i];
      result.token = outputs[i].token;
      result.ending = outputs[i].ending;
      result.logprob = each[i].top >= 0 ? outputs[i].logprob : 0;
      if (each[i].row != nullptr) continue;
      result.top.clear();
      const auto listed = std::size_t(std::clamp<std::int64_t>(each[i].top, 0, vocab));
      for (std::size_t k = 0; k < listed; k++) {
        const LogprobOutput& entry = top[i * kMaxTopLogprobs + k];
        result.top.push_back({entry.token, entry.logprob});
      }
    }
  });
}

void CudaOps::sample_graph(Tensor logits) {
  SampleParams params{};
  params.logits = static_cast<float*>(logits.data);
  params.slots = graph_->slots;
  params.outputs = graph_->outputs;
  params.tokens = graph_->drawn.tokens;
  params.ended = graph_->drawn.ended;
  params.endings = graph_->endings;
  params.real_count = graph_->view.counts;
  params.vocab = logits.cols;
  params.count = graph_->view.rows;
  launch_sample(params);
}

void CudaOps::launch_sample(SampleParams& params) {
  const std::int64_t bytes = sample_scan_bytes(params.count, params.vocab, lane_.shape());
  if (bytes > 0) params.scan = reinterpret_cast<std::uint64_t*>(lane_.sample_scan(std::size_t(bytes)));
  lane_.launch(plan_scan(params, lane_.shape()), params);
  lane_.launch(plan_bins(params, lane_.shape()), params);
  lane_.launch(plan_sample(params, lane_.shape()), params);
}

}  // namespace splitwiser::cuda
