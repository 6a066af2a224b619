// Row kernels, page copies and the kernels that advance decode steps, through the driver: against double on the host, the same
// bits whatever the grid and the rows beside, and nothing written elsewhere.
#include "rows.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <utility>

#include "support/half.hpp"
#include "check.hpp"
#include "harness.hpp"
#include "step.hpp"

namespace splitwiser {
namespace {

using namespace cuda_test;
using Bytes = std::vector<std::byte>;
constexpr DType kTypes[] = {DType::f32, DType::f16, DType::bf16};

Bytes stored(DType type, const std::vector<float>& values) {
  Bytes bytes(values.size() * bytes_of(type));
  with_type(type, [&](auto t) {
    for (std::size_t i = 0; i < values.size(); i++) {
      const auto number = narrow<decltype(t)>(values[i]);
      std::memcpy(bytes.data() + i * sizeof(number), &number, sizeof(number));
    }
  });
  return bytes;
}

std::vector<float> values_of(DType type, const Bytes& bytes) {
  std::vector<float> values(bytes.size() / bytes_of(type));
  with_type(type, [&](auto t) {
    for (std::size_t i = 0; i < values.size(); i++) {
      std::memcpy(&t, bytes.data() + i * sizeof(t), sizeof(t));
      values[i] = widen(t);
    }
  });
  return values;
}

// Numbers that the type holds exactly.
std::vector<float> numbers(std::int64_t count, unsigned seed, DType type, float shift = 0) {
  std::mt19937 random(seed);
  std::vector<float> values(std::size_t(count), 0.0f);
  for (float& value : values) value = (float(random() >> 8) * 0x1p-23f - 1) * 2 + shift;
  return values_of(type, stored(type, values));
}

// One check for many numbers; names the first that is too far off.
void check_near_all(const std::string& name, const std::vector<float>& got, const std::vector<double>& want, DType type,
                    double absolute = 4e-6) {
  const double relative = type == DType::f32 ? 0x1p-23 : type == DType::f16 ? 0x1p-10 : 0x1p-7;
  REQUIRE(got.size() == want.size());
  for (std::size_t i = 0; i < got.size(); i++) {
    if (std::abs(double(got[i]) - want[i]) <= absolute + std::abs(want[i]) * relative) continue;
    CHECK_EQ(name + " at " + std::to_string(i) + ": " + std::to_string(got[i]), std::to_string(want[i]));
    return;
  }
  CHECK(true);
}

std::string name_of_case(const char* kernel, DType type, std::int64_t cols) {
  return std::string(kernel) + " " + name_of(type) + ", " + std::to_string(cols) + " columns";
}

// A step of segments {tokens in the cache, rows of this step}. Two rows more than are real are part of the view; their
// entries would lead far out of bounds.
struct TestStep {
  std::vector<std::int32_t> token_ids, positions, row_segments, row_indptr{0}, page_indptr{0}, page_indices, kv_lengths, counts;
  std::int32_t real = 0, pages = 0;
  std::vector<DeviceArray<std::int32_t>> arrays;
  StepView view{};

  TestStep(const std::vector<std::pair<int, int>>& segments, int page_size, int vocab) {
    std::mt19937 random(3);
    for (const auto& [length, rows] : segments) {
      const auto segment = std::int32_t(kv_lengths.size());
      for (int position = length - rows; position < length; position++) {
        token_ids.push_back(std::int32_t(random() % unsigned(vocab)));
        positions.push_back(position);
        row_segments.push_back(segment);
      }
      real += rows;
      row_indptr.push_back(real);
      page_indptr.push_back(page_indptr.back() + (length + page_size - 1) / page_size + segment % 2);
      kv_lengths.push_back(length);
    }
    pages = page_indptr.back() + 3;
    for (std::int32_t page = 0; page < page_indptr.back(); page++) page_indices.push_back(pages - 1 - page);
    counts = {real, std::int32_t(segments.size())};
    for (auto* values : {&token_ids, &positions, &row_segments}) values->insert(values->end(), 2, 1 << 30);
    for (const auto* values : {&token_ids, &positions, &row_segments, &row_indptr, &page_indptr, &page_indices, &kv_lengths, &counts}) {
      arrays.push_back(upload(*values));
    }
    view = {arrays[0].data(), arrays[1].data(), arrays[2].data(), arrays[3].data(), arrays[4].data(),
            arrays[5].data(), arrays[6].data(), arrays[7].data(), real + 2, std::int32_t(segments.size())};
  }
};

TEST("rows: embedding adds learned positions, or positions alone, and leaves rows that are not real") {
  struct Case {
    std::int64_t cols, stride;
    bool tokens, positions;
  };
  const TestStep step({{9, 4}, {3, 1}, {40, 7}}, 16, 50);
  for (const DType type : kTypes) {
    for (const Case& c : {Case{144, 144, true, true}, {768, 776, true, false}, {13, 16, true, true}, {64, 64, false, true}}) {
      const auto tokens = numbers(50 * c.stride, 1, type), positions = numbers(60 * c.stride, 2, type);
      const auto given = numbers(step.view.rows * c.cols, 3, type);
      const auto tokens_at = upload(stored(type, tokens)), positions_at = upload(stored(type, positions));
      Bytes first;
      for (const int sms : {1, 4}) {
        const auto out = upload(stored(type, given));
        const EmbedParams params{step.view, c.tokens ? tokens_at.data() : nullptr, c.positions ? positions_at.data() : nullptr,
                                 out.data(), c.stride, c.stride, c.cols, 2, type};
        launch(plan_embed(params, shape(sms)), params);
        std::vector<double> want(given.begin(), given.end());
        for (std::int64_t r = 0; r < step.real; r++) {
          for (std::int64_t i = 0; i < c.cols; i++) {
            double& to = want[std::size_t(r * c.cols + i)];
            if (c.tokens) to = tokens[std::size_t(step.token_ids[std::size_t(r)] * c.stride + i)];
            if (c.positions) to += positions[std::size_t((step.positions[std::size_t(r)] + 2) * c.stride + i)];
          }
        }
        const Bytes bytes = out.download();
        check_near_all(name_of_case("embed", type, c.cols), values_of(type, bytes), want, type, 1e-6);
        if (first.empty()) first = bytes;
        CHECK(bytes == first);
      }
    }
  }
}

struct NormCase {
  std::int64_t rows, cols;
  bool residual, sum, rms;
};

// Bytes of out for rows [first, first + count) of the case's, then of sum.
std::pair<Bytes, Bytes> run_norm(const NormCase& c, DType type, std::int64_t first, std::int64_t count, int sms, bool in_place) {
  const auto x = numbers(c.rows * c.cols, 1, type, 0.5f), residual = numbers(c.rows * c.cols, 2, type);
  const auto cut = [&](const std::vector<float>& all) {
    return upload(stored(type, {all.begin() + first * c.cols, all.begin() + (first + count) * c.cols}));
  };
  const auto x_at = cut(x), residual_at = cut(residual);
  const auto out = filled<std::byte>(x_at.size(), 0xff), sum = filled<std::byte>(x_at.size(), 0xff);
  const auto weight = upload(numbers(c.cols, 3, DType::f32)), bias = upload(numbers(c.cols, 4, DType::f32));
  NormParams params{};
  params.x = x_at.data();
  params.residual = c.residual ? residual_at.data() : nullptr;
  params.sum = !c.sum ? nullptr : in_place ? residual_at.data() : sum.data();
  params.out = in_place ? x_at.data() : out.data();
  params.weight = weight.data();
  params.bias = c.rms ? nullptr : bias.data();
  params.rows = count, params.cols = c.cols, params.eps = 1e-5f, params.rms = c.rms, params.dtype = type;
  launch(plan_norm(params, shape(sms)), params);
  if (in_place) return {x_at.download(), c.sum ? residual_at.download() : Bytes{}};
  return {out.download(), c.sum ? sum.download() : Bytes{}};
}

TEST("rows: norms with residual, in place or not, have the same bits alone and beside other rows") {
  for (const DType type : kTypes) {
    for (const NormCase& c : {NormCase{1, 144, false, false, false}, {5, 768, true, true, false}, {3, 13, true, false, false},
                              {4, 2048, false, false, true}, {2, 4096, true, true, true}, {3, 257, true, true, true},
                              {2, 20000, true, true, false}, {2, 17001, true, false, true}}) {
      const std::string name = name_of_case(c.rms ? "RMS norm" : "layer norm", type, c.cols);
      const auto [out, sum] = run_norm(c, type, 0, c.rows, 0, false);
      const auto x = numbers(c.rows * c.cols, 1, type, 0.5f), residual = numbers(c.rows * c.cols, 2, type);
      const auto weight = numbers(c.cols, 3, DType::f32), bias = numbers(c.cols, 4, DType::f32);
      std::vector<float> added = x;
      for (std::size_t i = 0; c.residual && i < added.size(); i++) added[i] += residual[i];
      added = values_of(type, stored(type, added));
      std::vector<double> want;
      for (std::int64_t r = 0; r < c.rows; r++) {
        const float* row = added.data() + r * c.cols;
        double mean = 0, variance = 0;
        for (std::int64_t i = 0; !c.rms && i < c.cols; i++) mean += double(row[i]) / double(c.cols);
        for (std::int64_t i = 0; i < c.cols; i++) variance += (row[i] - mean) * (row[i] - mean) / double(c.cols);
        for (std::int64_t i = 0; i < c.cols; i++) {
          const double y = (row[i] - mean) / std::sqrt(variance + double(1e-5f)) * double(weight[std::size_t(i)]);
          want.push_back(c.rms ? y : y + double(bias[std::size_t(i)]));
        }
      }
      check_near_all(name, values_of(type, out), want, type);
      if (c.sum) CHECK(values_of(type, sum) == added);
      const auto [out_again, sum_again] = run_norm(c, type, 0, c.rows, 1, true);
      CHECK(out_again == out);
      CHECK(sum_again == sum);
      const Bytes last = run_norm(c, type, c.rows - 1, 1, 0, false).first;
      CHECK(std::equal(last.begin(), last.end(), out.end() - std::ptrdiff_t(last.size())));
    }
  }
}

TEST("rows: norms leave rows that are not real, and nothing is launched for none") {
  const auto x = upload(numbers(3 * 64, 1, DType::f32)), weight = upload(numbers(64, 2, DType::f32));
  const auto out = filled<float>(3 * 64, 0xff);
  const auto real = upload(std::vector<std::int32_t>{2});
  NormParams params{};
  params.x = x.data(), params.out = out.data(), params.weight = weight.data(), params.real_rows = real.data();
  params.rows = 3, params.cols = 64, params.eps = 1e-5f, params.rms = true;
  launch(plan_norm(params, shape()), params);
  const auto after = out.download();
  CHECK(after[2 * 64 - 1] == after[2 * 64 - 1]);
  CHECK(std::all_of(after.begin() + 2 * 64, after.end(), [](float value) { return value != value; }));
  params.rows = 0;
  CHECK_EQ(plan_norm(params, shape()).grid, 0);
}

TEST("rows: gathering takes rows in any order, twice too, of odd widths") {
  for (const DType type : kTypes) {
    for (const std::int64_t cols : {8, 144, 13, 1000}) {
      const auto x = numbers(9 * cols, 1, type);
      const std::vector<std::int32_t> rows{8, 0, 3, 3, 7};
      const auto x_at = upload(stored(type, x));
      const auto rows_at = upload(rows);
      const auto out = filled<std::byte>(rows.size() * std::size_t(cols) * bytes_of(type), 0xff);
      const GatherParams params{x_at.data(), rows_at.data(), out.data(), nullptr, std::int64_t(rows.size()), cols, type};
      launch(plan_gather(params, shape(1)), params);
      std::vector<float> want;
      for (const std::int32_t row : rows) want.insert(want.end(), x.begin() + row * cols, x.begin() + (row + 1) * cols);
      CHECK(values_of(type, out.download()) == want);
    }
  }
}

struct KvCase {
  DType type, cached;
  int heads, kv_heads, head_dim;
  RotaryForm rotary;
  int rotary_dims, page_size;
};

// Turns one head in double; angles are rounded to f32 first, as the reference implementations do.
void turn_head(std::vector<double>& x, RotaryForm form, int dims, std::int32_t position, const std::vector<float>& frequencies) {
  for (int i = 0; form != RotaryForm::none && i < dims / 2; i++) {
    const double angle = float(position) * frequencies[std::size_t(i)];
    const bool halves = form == RotaryForm::halves;
    double& a = x[std::size_t(halves ? i : 2 * i)];
    double& b = x[std::size_t(halves ? i + dims / 2 : 2 * i + 1)];
    const double turned = a * std::cos(angle) - b * std::sin(angle);
    b = b * std::cos(angle) + a * std::sin(angle);
    a = turned;
  }
}

void check_kv_write(const KvCase& c) {
  const TestStep step({{20, 20}, {70, 5}, {1, 1}}, c.page_size, 10);
  const std::int64_t row = padded_head_dim(c.head_dim), cols = std::int64_t(c.heads + 2 * c.kv_heads) * c.head_dim;
  const std::int64_t head_stride = c.page_size * row, page_stride = 2 * c.kv_heads * head_stride;
  const auto qkv = numbers(step.view.rows * cols, 1, c.type);
  std::vector<float> frequencies;
  for (int i = 0; i < c.rotary_dims / 2; i++) frequencies.push_back(std::pow(10000.0f, -2.0f * float(i) / float(c.rotary_dims)));
  const auto frequencies_at = upload(frequencies);
  const std::string name = name_of_case("kv_write", c.type, cols) + " to " + name_of(c.cached) + ", head dim " +
                           std::to_string(c.head_dim) + ", pages of " + std::to_string(c.page_size);
  // What the cache should hold; NaN: nothing is written there.
  std::vector<double> cache(std::size_t(step.pages * page_stride), std::numeric_limits<double>::quiet_NaN());
  std::vector<double> turned(qkv.begin(), qkv.end());
  for (std::int64_t r = 0; r < step.real; r++) {
    const auto at = std::size_t(r);
    const std::int32_t position = step.positions[at];
    const std::int64_t page =
        step.page_indices[std::size_t(step.page_indptr[std::size_t(step.row_segments[at])] + position / c.page_size)];
    for (int head = 0; head < c.heads + 2 * c.kv_heads; head++) {
      const float* from = qkv.data() + r * cols + head * c.head_dim;
      std::vector<double> x(from, from + c.head_dim);
      if (head < c.heads + c.kv_heads) turn_head(x, c.rotary, c.rotary_dims, position, frequencies);
      if (head < c.heads) {
        std::copy(x.begin(), x.end(), turned.begin() + r * cols + head * c.head_dim);
      } else {
        x.resize(std::size_t(row), 0.0);
        std::copy(x.begin(), x.end(),
                  cache.begin() + page * page_stride + (head - c.heads) * head_stride + position % c.page_size * row);
      }
    }
  }
  Bytes first;
  for (const int sms : {1, 5}) {
    const auto pool = filled<std::byte>(cache.size() * bytes_of(c.cached), 0xff);
    const auto qkv_at = upload(stored(c.type, qkv));
    KvWriteParams params{};
    params.step = step.view;
    params.kv = {pool.data(), pool.data() + std::size_t(c.kv_heads * head_stride) * bytes_of(c.cached), page_stride, head_stride,
                 std::int32_t(row), c.page_size, c.cached};
    params.qkv = qkv_at.data(), params.qkv_cols = cols, params.dtype = c.type;
    params.heads = c.heads, params.kv_heads = c.kv_heads, params.head_dim = c.head_dim;
    params.rotary = c.rotary, params.rotary_dims = c.rotary_dims, params.inverse_frequencies = frequencies_at.data();
    launch(plan_kv_write(params, shape(sms)), params);
    Bytes bytes = pool.download();
    const auto values = values_of(c.cached, bytes);
    std::vector<float> written;
    std::vector<double> want;
    bool left_alone = true;
    for (std::size_t i = 0; i < cache.size(); i++) {
      if (cache[i] == cache[i]) {
        written.push_back(values[i]);
        want.push_back(cache[i]);
      } else {
        left_alone = left_alone && values[i] != values[i];
      }
    }
    check_near_all(name, written, want, c.cached, 2e-6);
    CHECK(left_alone);
    const Bytes after = qkv_at.download();
    check_near_all(name + ", q", values_of(c.type, after), turned, c.type, 2e-6);
    bytes.insert(bytes.end(), after.begin(), after.end());
    if (first.empty()) first = bytes;
    CHECK(bytes == first);
  }
}

TEST("rows: keys and values go to their pages, turned or not, and to nowhere else") {
  using enum RotaryForm;
  for (const int page_size : {16, 64}) {
    for (const KvCase& c :
         {KvCase{DType::f32, DType::f32, 2, 2, 64, none, 0, page_size}, {DType::f16, DType::f16, 8, 2, 128, halves, 128, page_size},
          {DType::bf16, DType::bf16, 3, 1, 80, halves, 20, page_size}, {DType::f16, DType::f16, 4, 4, 64, pairs, 32, page_size},
          {DType::f32, DType::f16, 2, 2, 18, none, 0, page_size}, {DType::f16, DType::f32, 2, 1, 18, pairs, 18, page_size},
          {DType::bf16, DType::f16, 2, 1, 20, halves, 10, page_size}, {DType::f32, DType::bf16, 1, 1, 256, pairs, 64, page_size},
          {DType::f16, DType::bf16, 71, 1, 64, halves, 64, page_size}, {DType::bf16, DType::f32, 6, 3, 100, halves, 100, page_size}}) {
      check_kv_write(c);
    }
  }
}

TEST("rows: decode steps take tokens from the step before and advance") {
  const std::vector<std::int32_t> drawn{10, 11, 12, kRowEnded, 14};
  const auto drawn_at = upload(drawn);
  const auto counts = upload(std::vector<std::int32_t>{5, 5});
  const auto ids = upload(std::vector<std::int32_t>{4, -1, kRowEnded, -4, -5, 9, 9});
  const auto lengths = upload(std::vector<std::int32_t>{2, 3, 4, 5, 6, 7, 8});
  const auto kv_lengths = filled<std::int32_t>(7, 0xff), ended = filled<std::int32_t>(7, 0xff);
  const StepFeedParams feed{ids.data(), drawn_at.data(), lengths.data(), ids.data(), kv_lengths.data(), ended.data(), counts.data(), 7};
  launch(plan_step_feed(feed, shape()), feed);
  CHECK_EQ(ids.download(), (std::vector<std::int32_t>{4, 10, 0, 0, 14, 9, 9}));
  CHECK_EQ(kv_lengths.download(), (std::vector<std::int32_t>{2, 3, 1, 1, 6, -1, -1}));
  CHECK_EQ(ended.download(), (std::vector<std::int32_t>{0, 0, 1, 1, 0, -1, -1}));

  const auto positions = upload(std::vector<std::int32_t>{1, 2, 3, 4, 5, 6, 7});
  std::vector<SampleSlot> slots(7);
  for (std::size_t i = 0; i < slots.size(); i++) slots[i] = SampleSlot{}, slots[i].position = std::uint32_t(i);
  const auto slots_at = upload(slots);
  const StepAdvanceParams advance{drawn_at.data(), ids.data(), positions.data(), lengths.data(), slots_at.data(), counts.data(), 7};
  launch(plan_step_advance(advance, shape()), advance);
  CHECK_EQ(ids.download(), (std::vector<std::int32_t>{10, 11, 12, kRowEnded, 14, 9, 9}));
  CHECK_EQ(positions.download(), (std::vector<std::int32_t>{2, 3, 4, 5, 6, 6, 7}));
  CHECK_EQ(lengths.download(), (std::vector<std::int32_t>{3, 4, 5, 6, 7, 7, 8}));
  const auto after = slots_at.download();
  for (std::size_t i = 0; i < after.size(); i++) CHECK_EQ(after[i].position, i < 5 ? i + 1 : i);
}

TEST("rows: a patch changes its pieces and no others") {
  constexpr std::size_t kPieces = 700;
  std::vector<StepPiece> wanted(kPieces);
  for (std::size_t i = 0; i < kPieces; i++) wanted[i] = {{std::int32_t(i), 1, 2, 3}};
  const auto array = upload(wanted);
  std::vector<StepPiece> values;
  std::vector<std::int32_t> pieces;
  for (std::size_t i = 0; i < kPieces; i += 1 + i % 3) {
    const std::size_t piece = kPieces - 1 - i;
    wanted[piece] = {{-std::int32_t(i), 7, 8, std::int32_t(i)}};
    values.push_back(wanted[piece]);
    pieces.push_back(std::int32_t(piece));
  }
  const auto values_at = upload(values);
  const auto pieces_at = upload(pieces);
  for (const int sms : {1, 3}) {
    const StepPatchParams patch{array.data(), values_at.data(), pieces_at.data(), std::int32_t(pieces.size())};
    launch(plan_step_patch(patch, shape(sms)), patch);
    const auto got = array.download();
    CHECK(std::memcmp(got.data(), wanted.data(), kPieces * sizeof(StepPiece)) == 0);
  }
}

}  // namespace
}  // namespace splitwiser
