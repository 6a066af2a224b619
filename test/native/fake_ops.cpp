// The fake device's ops: hashes instead of arithmetic, and the checks of order when an op truly runs.
#include <cstring>

#include "fake_backend.hpp"

namespace splitwiser::fake {
namespace {

// A row holds its hash once per 8 bytes, each time another way, so that half a row of one and half of another shows.
constexpr std::uint64_t kWordStep = 0x9E3779B97F4A7C15u;
constexpr std::size_t kWord = sizeof(std::uint64_t);

[[nodiscard]] std::byte* row_at(Tensor tensor, std::int64_t row) {
  return static_cast<std::byte*>(tensor.data) + std::size_t(row * tensor.cols) * sizeof(float);
}

[[nodiscard]] std::int64_t row_begin(const StepInput& in, std::int64_t segment) { return in.row_indptr[std::size_t(segment)]; }
[[nodiscard]] std::int64_t row_end(const StepInput& in, std::int64_t segment) { return in.row_indptr[std::size_t(segment) + 1]; }
[[nodiscard]] std::int32_t page_of(const StepInput& in, std::int64_t segment, std::int64_t position) {
  return in.page_indices[std::size_t(in.page_indptr[std::size_t(segment)] + position / in.page_size)];
}

}  // namespace

std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  std::uint64_t x = a * 0xFF51AFD7ED558CCDu + (b ^ (b >> 29)) * 0xC4CEB9FE1A85EC53u + 0x2545F4914F6CDD1Du;
  x ^= x >> 32;
  x *= 0xD6E8FEB86659FD93u;
  return x ^ x >> 32;
}

float logit_of(std::uint64_t state, std::int64_t token) {
  return float(mix(state, std::uint64_t(token)) >> 48) / 4096.0f;  // exact
}

void FakeLane::hazard(const std::string& what) { hazards_->add(std::string(name_of(phase_)) + " lane: " + what); }

void FakeLane::check(Tensor tensor) {
  if (tensor.rows == 0) return;
  const auto bytes = std::size_t(tensor.rows * tensor.cols) * sizeof(float);
  if (const std::string wrong = buffers_->claim(tensor.data, bytes, int(phase_)); !wrong.empty()) hazard(wrong);
}

std::uint64_t FakeLane::get(Tensor tensor, std::int64_t row) {
  std::uint64_t first = 0;
  std::memcpy(&first, row_at(tensor, row), kWord);
  for (std::size_t i = 1; i < std::size_t(tensor.cols) * sizeof(float) / kWord; i++) {
    std::uint64_t word = 0;
    std::memcpy(&word, row_at(tensor, row) + i * kWord, kWord);
    if (word != first + i * kWordStep) {
      hazard("a row was read that is not whole");
      break;
    }
  }
  return first;
}

void FakeLane::put(Tensor tensor, std::int64_t row, std::uint64_t hash) {
  for (std::size_t i = 0; i < std::size_t(tensor.cols) * sizeof(float) / kWord; i++) {
    const std::uint64_t word = hash + i * kWordStep;
    std::memcpy(row_at(tensor, row) + i * kWord, &word, kWord);
  }
}

// ---- rows ------------------------------------------------------------------------------------

void FakeLane::embed(const StepInput& in, const Matrix& tokens, const Matrix* positions, int position_offset, Tensor out) {
  const auto& table = static_cast<const FakeMatrix&>(tokens);
  const auto* places = static_cast<const FakeMatrix*>(positions);
  issue(OpKind::embed, [=, this, &table] {
    check(out);
    for (std::int64_t r = 0; r < out.rows; r++) {
      std::int32_t token = in.token_ids[std::size_t(r)];
      if (token < 0 && std::size_t(-1 - token) >= drawn_.size()) hazard("a step takes a token that the step before did not draw");
      else if (token < 0) token = drawn_[std::size_t(-1 - token)];
      std::uint64_t hash = mix(table.id(), std::uint64_t(token));
      if (places) hash = mix(hash, mix(places->id(), std::uint64_t(in.positions[std::size_t(r)] + position_offset)));
      put(out, r, hash);
    }
  });
}

void FakeLane::add_positions(const StepInput& in, const Matrix& positions, int position_offset, Tensor out) {
  const auto& places = static_cast<const FakeMatrix&>(positions);
  issue(OpKind::add_positions, [=, this, &places] {
    check(out);
    for (std::int64_t r = 0; r < out.rows; r++) {
      put(out, r, mix(get(out, r), mix(places.id(), std::uint64_t(in.positions[std::size_t(r)] + position_offset))));
    }
  });
}

void FakeLane::linear(Tensor x, const Matrix& w, const Epilogue& epilogue, Tensor out) {
  const auto& matrix = static_cast<const FakeMatrix&>(w);
  const auto* bias = static_cast<const FakeVector*>(epilogue.bias);
  const std::optional<Tensor> residual = epilogue.residual ? std::optional(*epilogue.residual) : std::nullopt;
  const Activation activation = epilogue.activation;
  if (x.cols != matrix.cols() || out.cols != matrix.rows() || x.rows != out.rows) hazard("the shapes of linear do not fit");
  issue(OpKind::linear, [=, this, &matrix] {
    check(x);
    check(out);
    if (residual) check(*residual);
    for (std::int64_t r = 0; r < x.rows; r++) {
      std::uint64_t hash = mix(get(x, r), matrix.id());
      if (matrix.makes_logits()) {
        auto* logits = reinterpret_cast<float*>(row_at(out, r));
        for (std::int64_t v = 0; v < out.cols; v++) logits[v] = logit_of(hash, v);
        continue;
      }
      if (bias) hash = mix(hash, bias->id());
      if (activation != Activation::none) hash = mix(hash, std::uint64_t(activation));
      if (residual) hash = mix(hash, get(*residual, r));
      put(out, r, hash);
    }
  });
}

void FakeLane::layer_norm(Tensor x, const LayerNorm& norm, Tensor out) {
  const std::uint64_t ids =
      mix(static_cast<const FakeVector&>(*norm.weight).id(), static_cast<const FakeVector&>(*norm.bias).id());
  issue(OpKind::layer_norm, [=, this] {
    check(x);
    check(out);
    for (std::int64_t r = 0; r < x.rows; r++) put(out, r, mix(get(x, r), ids));
  });
}

void FakeLane::gather_rows(Tensor x, std::span<const std::int32_t> rows, Tensor out) {
  issue(OpKind::gather, [=, this] {
    check(x);
    check(out);
    for (std::size_t i = 0; i < rows.size(); i++) put(out, std::int64_t(i), get(x, rows[i]));
  });
}

// ---- pages -----------------------------------------------------------------------------------

std::uint64_t FakeLane::read_slot(FakePool& pool, int layer, std::int64_t page, std::int64_t position) {
  const Slot& slot = pool.slot(layer, page, position % pool.shape().page_size);
  const std::string where = " (page " + std::to_string(page) + ", position " + std::to_string(position) + ")";
  if (slot.position != position) {
    hazard(slot.position < 0 ? "a slot is read that was never written" + where
                             : "a slot is read that holds position " + std::to_string(slot.position) + where);
  } else if (slot.writer != int(phase_) && slot.time > clock_[std::size_t(slot.writer)]) {
    hazard("a slot is read that the other lane wrote, and no event is between" + where);
  }
  return slot.value;
}

void FakeLane::check_overwrite(FakePool& pool, std::int32_t page, std::uint64_t stamp) {
  // A read that was issued before this write wanted what the page held then.
  const auto& reads = pool.pending_reads(1 - int(phase_), page);
  if (!reads.empty() && reads.front() < stamp) {
    hazard("page " + std::to_string(page) + " is written while a step of the other lane has yet to read it");
  }
}

void FakeLane::write_kv(const StepInput& in, KvPool& kv, int layer, const AttentionSpec&, Tensor qkv) {
  auto& pool = static_cast<FakePool&>(kv);
  const auto stamp = std::make_shared<std::uint64_t>();
  issue(OpKind::write_kv, [=, this, &pool] {
    check(qkv);
    const std::lock_guard lock(pool.mutex);
    for (std::int64_t s = 0; s < in.segments(); s++) {
      if (in.kv_length(s) != in.positions[std::size_t(row_end(in, s) - 1)] + 1) hazard("a segment's pages do not end with its last token");
      for (std::int64_t r = row_begin(in, s); r < row_end(in, s); r++) {
        const std::int64_t position = in.positions[std::size_t(r)];
        const std::int32_t page = page_of(in, s, position);
        check_overwrite(pool, page, *stamp);
        pool.slot(layer, page, position % in.page_size) = {mix(get(qkv, r), std::uint64_t(layer)), position, int(phase_),
                                                           clock_[std::size_t(phase_)]};
      }
    }
  }, [&] {
    const std::lock_guard lock(pool.mutex);
    *stamp = pool.next_stamp();
  });
}

void FakeLane::attention(const StepInput& in, const KvPool& kv, int layer, const AttentionSpec&, Tensor qkv, Tensor out) {
  auto& pool = const_cast<FakePool&>(static_cast<const FakePool&>(kv));  // for the pending reads
  issue(OpKind::attention, [=, this, &pool] {
    check(qkv);
    check(out);
    const std::lock_guard lock(pool.mutex);
    for (std::int64_t s = 0; s < in.segments(); s++) {
      for (std::int64_t r = row_begin(in, s); r < row_end(in, s); r++) {
        std::uint64_t hash = mix(get(qkv, r), std::uint64_t(layer) + 1000);
        for (std::int64_t t = 0; t <= in.positions[std::size_t(r)]; t++) hash = mix(hash, read_slot(pool, layer, page_of(in, s, t), t));
        put(out, r, hash);
      }
    }
    for (const std::int32_t page : in.page_indices) pool.pending_reads(int(phase_), page).pop_front();
  }, [&] {
    const std::lock_guard lock(pool.mutex);
    const std::uint64_t stamp = pool.next_stamp();
    for (const std::int32_t page : in.page_indices) pool.pending_reads(int(phase_), page).push_back(stamp);
  });
}

void FakeLane::copy_pages(KvPool& kv, std::span<const PageCopy> copies) {
  auto& pool = static_cast<FakePool&>(kv);
  const auto stamp = std::make_shared<std::uint64_t>();
  issue(OpKind::copy_pages, [=, this, &pool] {
    const std::lock_guard lock(pool.mutex);
    for (const PageCopy& copy : copies) {
      check_overwrite(pool, copy.to, *stamp);
      for (int layer = 0; layer < pool.shape().layers; layer++) {
        for (std::int64_t t = 0; t < copy.tokens; t++) {
          const std::int64_t position = pool.slot(layer, copy.from, t).position;
          pool.slot(layer, copy.to, t) = {read_slot(pool, layer, copy.from, position < 0 ? t : position), position, int(phase_),
                                          clock_[std::size_t(phase_)]};
        }
      }
      pool.pending_reads(int(phase_), copy.from).pop_front();
    }
  }, [&] {
    const std::lock_guard lock(pool.mutex);
    *stamp = pool.next_stamp();
    for (const PageCopy& copy : copies) pool.pending_reads(int(phase_), copy.from).push_back(*stamp);
  });
}

// ---- results ---------------------------------------------------------------------------------

void FakeLane::sample(Tensor logits, std::span<const SampleRow> rows, std::span<SampleResult> results) {
  issue(OpKind::sample, [=, this] {
    check(logits);
    drawn_.assign(rows.size(), -1);
    for (std::size_t i = 0; i < rows.size(); i++) {
      const SampleRow& row = rows[i];
      const std::span<float> values(reinterpret_cast<float*>(row_at(logits, row.row)), std::size_t(logits.cols));
      SampleResult& result = results[i];
      result.token = row.sample ? sample_row(values, row.params, row.counts, row.bias, row.forbidden(), row.seed, row.choice,
                                             row.position, scratch_)
                                : row.target;
      result.ending = ending_of(row, result.token);
      drawn_[i] = result.token;
      if (row.top_logprobs < 0) continue;
      const LogNormalizer normalizer = log_normalizer(values);
      result.logprob = log_softmax_at(values, result.token, normalizer);
      top_logprobs(std::span<const float>(values), std::size_t(row.top_logprobs), normalizer, result.top);
    }
  });
}

void FakeLane::read(Tensor from, std::span<std::byte> to) {
  issue(OpKind::read, [=, this] {
    check(from);
    std::memcpy(to.data(), from.data, to.size());
  });
}

}  // namespace splitwiser::fake
