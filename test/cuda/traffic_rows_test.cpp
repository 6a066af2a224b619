// Traffic of the kernels that pass over rows: norms, embedding, the write to the cache, gathering, page copies, sampling.
#include "traffic.hpp"

#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "check.hpp"
#include "harness.hpp"
#include "pages.hpp"
#include "rows.hpp"
#include "sample.hpp"

namespace splitwiser {
namespace {

using namespace cuda_test;

constexpr std::int64_t kRows = 24, kCols = 768;
constexpr int kPage = 16;

Traffic row_traffic(const char* kernel, double compulsory, double requested, double arrays = 0) {
  Traffic need;
  need.kernel = kernel;
  need.compulsory = compulsory;
  need.requested = requested;
  need.arrays = arrays;
  return need;
}

DeviceArray<std::byte> zeros(std::int64_t elements, DType type) { return filled<std::byte>(std::size_t(elements) * bytes_of(type), 0); }

// A step of kRows rows, each a segment of its own with one page.
struct StepArrays {
  DeviceArray<std::int32_t> ids, ascending, ones, counts;
  StepView view{};

  StepArrays() {
    std::vector<std::int32_t> numbers(kRows + 1);
    std::iota(numbers.begin(), numbers.end(), 0);
    ascending = upload<std::int32_t>(numbers);
    std::vector<std::int32_t> tokens(kRows);
    for (std::int64_t i = 0; i < kRows; i++) tokens[std::size_t(i)] = std::int32_t(i * 3);
    ids = upload<std::int32_t>(tokens);
    ones = upload<std::int32_t>(std::vector<std::int32_t>(kRows, 1));
    counts = upload<std::int32_t>(std::vector<std::int32_t>{std::int32_t(kRows), std::int32_t(kRows)});
    view = {ids.data(), ascending.data(), ascending.data(), ascending.data(), ascending.data(), ascending.data(), ones.data(),
            counts.data(), std::int32_t(kRows), std::int32_t(kRows)};
  }
};

void norm(DType type, bool residual) {
  const double line = double(kRows * kCols) * double(bytes_of(type));
  const auto x = zeros(kRows * kCols, type), other = zeros(kRows * kCols, type);
  const DeviceArray<std::byte> sum{std::size_t(line)}, out{std::size_t(line)};
  const auto weight = filled<float>(kCols, 0), bias = filled<float>(kCols, 0);
  NormParams params{};
  params.x = x.data(), params.out = out.data(), params.weight = weight.data(), params.bias = bias.data();
  if (residual) params.residual = other.data(), params.sum = sum.data();
  params.rows = kRows, params.cols = kCols, params.eps = 1e-5f, params.dtype = type;
  const LaunchPlan plan = plan_norm(params, shape());
  const double moved = (residual ? 4 : 2) * line;
  check_traffic(residual ? "norm with residual" : "norm", row_traffic(plan.kernel, moved + 8.0 * kCols, moved + 8.0 * kCols * kRows),
                [&] { launch(plan, params); });
}

TEST("traffic: a norm reads its rows once and its weights once for each row") {
  for (const DType type : {DType::f32, DType::f16, DType::bf16}) norm(type, false);
  norm(DType::f16, true);
}

TEST("traffic: an embedding reads one row of each table for a token") {
  for (const DType type : {DType::f32, DType::f16, DType::bf16}) {
    const StepArrays step;
    const double line = double(kRows * kCols) * double(bytes_of(type));
    const auto tokens = zeros(3 * kRows * kCols, type), positions = zeros((kRows + 2) * kCols, type);
    const DeviceArray<std::byte> out{std::size_t(line)};
    EmbedParams params{};
    params.step = step.view;
    params.tokens = tokens.data(), params.positions = positions.data(), params.out = out.data();
    params.token_stride = params.position_stride = params.cols = kCols;
    params.position_offset = 2, params.dtype = type;
    const LaunchPlan plan = plan_embed(params, shape());
    // A thread has 8 elements: it asks for their token and position; every thread for the number of rows.
    const double arrays = double(kRows * kCols / 8) * 8 + double(plan.grid * plan.block) * 4;
    check_traffic("embedding", row_traffic(plan.kernel, 3 * line, 3 * line, arrays), [&] { launch(plan, params); });
  }
}

void kv_write(DType type, RotaryForm rotary) {
  constexpr int kHeads = 12, kKvHeads = 12, kDim = 64;
  const StepArrays step;
  const std::int64_t cols = (kHeads + 2 * kKvHeads) * kDim, head_stride = kPage * kDim;
  const auto qkv = zeros(kRows * cols, type);
  const auto pool = zeros(2 * kRows * kKvHeads * head_stride, type);
  std::vector<float> angles(kDim / 2, 0.5f);
  const auto frequencies = upload<float>(angles);
  KvWriteParams params{};
  params.step = step.view;
  // Positions are 0 here: every row's page has one place.
  const auto positions = filled<std::int32_t>(kRows, 0);
  params.step.positions = positions.data();
  params.kv = {pool.data(), pool.data() + pool.size() / 2, kKvHeads * head_stride, head_stride, kDim, kPage, type};
  params.qkv = qkv.data(), params.qkv_cols = cols, params.dtype = type;
  params.heads = kHeads, params.kv_heads = kKvHeads, params.head_dim = kDim;
  params.rotary = rotary;
  params.rotary_dims = rotary == RotaryForm::none ? 0 : kDim;
  params.inverse_frequencies = rotary == RotaryForm::none ? nullptr : frequencies.data();
  const LaunchPlan plan = plan_kv_write(params, shape());
  const double size = double(bytes_of(type)), cached = double(kRows * 2 * kKvHeads * kDim) * size;
  // A thread has 8 elements of four heads: it asks for the row's segment, position and page, and where its pages begin; each
  // turn for two angles' eight frequencies. Every thread asks for the number of rows.
  const bool turns = rotary != RotaryForm::none;
  const double items = double(kRows) * double(((turns ? kHeads : 0) + 2 * kKvHeads) / 4) * (turns ? kDim / 16 : kDim / 8);
  const double arrays = items * (turns ? 16 + 32 : 16) + double(plan.grid * plan.block) * 4;
  const double turned = rotary == RotaryForm::none ? 0 : double(kRows * kHeads * kDim) * size;
  // Queries turn where they lie: read and written, the same sectors counted once as loads and once as stores.
  check_traffic(rotary == RotaryForm::none ? "write to the cache" : "write to the cache with rotary",
                row_traffic(plan.kernel, 2 * cached + 2 * turned, 2 * cached + 2 * turned, arrays), [&] { launch(plan, params); });
}

TEST("traffic: keys and values go to the cache once") {
  for (const DType type : {DType::f32, DType::f16, DType::bf16}) kv_write(type, RotaryForm::none);
  kv_write(DType::f16, RotaryForm::halves);
}

TEST("traffic: gathering rows and copying pages move each byte once") {
  const StepArrays step;
  const double line = double(kRows * kCols) * 2;
  const auto x = zeros(kRows * kCols, DType::f16);
  const DeviceArray<std::byte> out{std::size_t(line)};
  GatherParams gather{};
  gather.x = x.data(), gather.out = out.data(), gather.rows = step.ascending.data();
  gather.count = kRows, gather.cols = kCols, gather.dtype = DType::f16;
  const LaunchPlan gather_plan = plan_gather(gather, shape());
  check_traffic("gather", row_traffic(gather_plan.kernel, 2 * line, 2 * line, line / 4), [&] { launch(gather_plan, gather); });

  constexpr std::int64_t kLayers = 2, kHeads = 8, kRowBytes = 128, kPages = 4;
  const auto pool = filled<std::byte>(std::size_t(kLayers * kPages * kHeads * kPage * kRowBytes), 0);
  const std::vector<PageCopyItem> items{{0, 1, kPage}, {2, 3, 5}};
  const auto items_at = upload<PageCopyItem>(items);
  PageCopyParams copy{};
  constexpr std::int64_t kHeadBytes = kPage * kRowBytes, kPageBytes = kHeads * kHeadBytes;
  copy.from = copy.to = {pool.data(), kPages * kPageBytes, kPageBytes, kHeadBytes};
  copy.items = items_at.data(), copy.row_bytes = kRowBytes;
  copy.count = 2, copy.layers = kLayers, copy.heads = kHeads;
  const LaunchPlan copy_plan = plan_page_copy(copy, shape());
  const double moved = 2.0 * double(kLayers * kHeads * (kPage + 5) * kRowBytes);
  check_traffic("page copy", row_traffic(copy_plan.kernel, moved, moved, double(2 * kLayers * kHeads * copy_plan.block) * 12), [&] { launch(copy_plan, copy); });
}

TEST("traffic: a draw reads the row's logits once, and so do a scan and bins of a long one") {
  constexpr std::int64_t kVocab = 50272, kCount = 3;
  std::vector<float> values(std::size_t(kCount * kVocab));
  for (std::size_t i = 0; i < values.size(); i++) values[i] = float(i % 977) * 0.01f;
  const auto logits = upload<float>(values);
  std::vector<SampleSlot> slots(kCount);
  for (std::size_t i = 0; i < slots.size(); i++) {
    slots[i].row = std::int64_t(i), slots[i].sample = 1, slots[i].top_logprobs = -1;
    slots[i].params.temperature = 1;  // for bins
  }
  const auto slots_at = upload<SampleSlot>(slots);
  const DeviceArray<SampleOutput> outputs(kCount);
  SampleParams params{};
  params.logits = logits.data(), params.slots = slots_at.data(), params.outputs = outputs.data();
  params.vocab = kVocab, params.count = kCount;
  const LaunchPlan plan = plan_sample(params, shape());
  const double read = double(kCount * kVocab) * 4;
  std::vector<SampleSlot> greedy = slots;
  for (SampleSlot& slot : greedy) slot.params.temperature = 0;
  const auto greedy_at = upload<SampleSlot>(greedy);
  SampleParams drawn = params;
  drawn.slots = greedy_at.data();
  check_traffic("greedy draw", row_traffic(plan.kernel, read, read, double(kCount * plan.block) * 28), [&] { launch(plan, drawn); });

  const auto scan = filled<std::uint64_t>(std::size_t(kCount * scan_words(kVocab)), 0xff);
  params.scan = drawn.scan = scan.data();
  const double pieces = double(scan_words(kVocab) - kSampleBins), left = double(kCount) * double(scan_words(kVocab)) * 8;
  const LaunchPlan scans = plan_scan(params, shape()), bins = plan_bins(params, shape());
  // A warp a piece: each of its lanes asks for the slot's flag and row.
  check_traffic("scan of logits", row_traffic(scans.kernel, read + left, read + left, double(kCount) * pieces * 32 * 12),
                [&] { launch(scans, params); });
  // A block a part asks for the best of all pieces and nine words of the slot, and adds each piece's weight to a bin.
  const double parts = double(kCount * bin_parts(kVocab)), ranks = double(kCount) * pieces * 8;
  check_traffic("bins of logits", row_traffic(bins.kernel, read + ranks, read, parts * (pieces * 8 + bins.block * 36.0) + 2 * ranks),
                [&] { launch(bins, params); });
  // What is left to read of a scanned row: its pieces' ranks.
  if (counting_tier() == CountingTier::real) return;
  const simt::Counters seen = count(plan.kernel, [&] { launch(plan, drawn); });
  CHECK(double(seen.global_load_bytes) <= double(kCount) * (pieces * 8 + plan.block * 28.0));
}

}  // namespace
}  // namespace splitwiser
