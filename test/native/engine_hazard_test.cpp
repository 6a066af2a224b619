// The fake device notices each kind of mistake: a detector that never rings proves nothing.
#include "check.hpp"
#include "fake_backend.hpp"

using namespace splitwiser;
using namespace splitwiser::fake;

namespace {

constexpr AttentionSpec kAttention{1, 1, 4, 1.0f};

// One sequence of `tokens` tokens over pages 0, 1, ...
struct Rows {
  std::vector<std::int32_t> ids, positions, row_indptr, page_indptr, pages, last;
  Rows(std::int32_t first, std::int32_t tokens, std::int32_t page) {
    for (std::int32_t i = 0; i < tokens; i++) {
      ids.push_back(i);
      positions.push_back(first + i);
    }
    row_indptr = {0, tokens};
    for (std::int32_t p = 0; p <= (first + tokens - 1) / 16; p++) pages.push_back(page + p);
    page_indptr = {0, std::int32_t(pages.size())};
    last = {(first + tokens - 1) % 16 + 1};
  }
  [[nodiscard]] StepInput input() const { return {ids, positions, row_indptr, page_indptr, pages, last, 16}; }
};

struct Device {
  std::shared_ptr<HazardLog> log = std::make_shared<HazardLog>();
  FakeBackend backend{1, log};
  std::unique_ptr<KvPool> pool = backend.make_kv_pool({1, 1, 4, 16, 8, DType::f32});
  FakeMatrix table{7, 50, 12};
  struct Scratch {
    std::unique_ptr<Buffer> buffer;
    Tensor qkv, out;
  };
  Scratch scratch[kPhases] = {make_scratch(), make_scratch()};

  Scratch make_scratch() {
    Scratch made{backend.allocate(64 * 16 * 4), {}, {}};
    made.qkv = {made.buffer->data(), DType::f32, 0, 12};
    made.out = {static_cast<std::byte*>(made.buffer->data()) + 64 * 12 * 4, DType::f32, 0, 4};
    return made;
  }
  Lane& lane(Phase phase) { return backend.lane(phase); }
  [[nodiscard]] Tensor qkv(Phase phase, const Rows& rows) const {
    Tensor tensor = scratch[int(phase)].qkv;
    tensor.rows = std::int64_t(rows.ids.size());
    return tensor;
  }
  void write(Phase phase, const Rows& rows) {
    lane(phase).ops().embed(rows.input(), table, nullptr, 0, qkv(phase, rows));
    lane(phase).ops().write_kv(rows.input(), *pool, 0, kAttention, qkv(phase, rows));
  }
  void read(Phase phase, const Rows& rows) {
    Tensor out = scratch[int(phase)].out;
    out.rows = std::int64_t(rows.ids.size());
    lane(phase).ops().attention(rows.input(), *pool, 0, kAttention, qkv(phase, rows), out);
  }
  std::shared_ptr<Event> finish(Phase phase) {
    auto event = lane(phase).record();
    lane(phase).synchronize(*event);
    lane(phase).end_step();
    return event;
  }
  [[nodiscard]] bool rang(const std::string& text) const {
    for (const std::string& hazard : log->list()) {
      if (hazard.find(text) != std::string::npos) return true;
    }
    return false;
  }
};

}  // namespace

TEST("fake device: lanes in order, with an event between, ring no hazard") {
  Device device;
  const Rows prompt(0, 20, 0), next(20, 1, 0);
  device.lane(Phase::prefill).begin_step();
  device.write(Phase::prefill, prompt);
  device.read(Phase::prefill, prompt);
  const auto event = device.lane(Phase::prefill).record();
  device.lane(Phase::decode).begin_step();
  device.lane(Phase::decode).wait(event);
  device.write(Phase::decode, next);
  device.read(Phase::decode, next);
  device.finish(Phase::decode);
  CHECK(event->done());
  device.finish(Phase::prefill);
  CHECK_EQ(device.log->list(), std::vector<std::string>{});
}

TEST("fake device: a read of the other lane's write without an event rings, although the host waited in between") {
  Device device;
  const Rows prompt(0, 20, 0), next(20, 1, 0);
  device.lane(Phase::prefill).begin_step();
  device.write(Phase::prefill, prompt);
  device.finish(Phase::prefill);
  device.lane(Phase::decode).begin_step();
  device.write(Phase::decode, next);
  device.read(Phase::decode, next);
  device.finish(Phase::decode);
  CHECK(device.rang("no event is between"));
}

TEST("fake device: a read of a slot that was never written, or holds another position, rings") {
  Device device;
  const Rows prompt(0, 10, 0), later(10, 3, 0), elsewhere(16, 8, 0);
  device.lane(Phase::decode).begin_step();
  device.write(Phase::decode, prompt);
  device.read(Phase::decode, later);
  device.lane(Phase::decode).synchronize(*device.lane(Phase::decode).record());
  CHECK(device.rang("never written"));
  Rows moved = elsewhere;
  moved.pages = {3, 0};  // page 0 holds positions 0 .. 9
  device.read(Phase::decode, moved);
  device.finish(Phase::decode);
  CHECK(device.rang("holds position"));
}

TEST("fake device: a write into a page that a step of the other lane has yet to read rings") {
  Device device;
  const Rows prompt(0, 16, 0), intruder(0, 4, 0);
  device.lane(Phase::prefill).begin_step();
  device.write(Phase::prefill, prompt);
  device.backend.lane(Phase::prefill).hold(OpKind::attention);
  device.read(Phase::prefill, prompt);
  const auto event = device.lane(Phase::prefill).record();
  device.lane(Phase::decode).begin_step();
  device.write(Phase::decode, intruder);
  device.finish(Phase::decode);
  device.backend.lane(Phase::prefill).resume();
  device.lane(Phase::prefill).synchronize(*event);
  device.lane(Phase::prefill).end_step();
  CHECK(device.rang("has yet to read"));
}

TEST("fake device: a buffer used by both lanes, a freed buffer and a reach past its end ring") {
  Device device;
  const Rows rows(0, 4, 0), others(0, 4, 1);
  device.lane(Phase::prefill).begin_step();
  device.write(Phase::prefill, rows);
  device.finish(Phase::prefill);
  device.lane(Phase::decode).begin_step();
  device.lane(Phase::decode).ops().embed(others.input(), device.table, nullptr, 0, device.qkv(Phase::prefill, others));
  device.finish(Phase::decode);
  CHECK(device.rang("used by both lanes"));
  Tensor large = device.qkv(Phase::decode, others);
  large.rows = 65 * 16;
  CHECK(device.rang("reaches past") == false);
  device.lane(Phase::decode).begin_step();
  device.lane(Phase::decode).ops().gather_rows(large, {}, device.qkv(Phase::decode, others));
  device.finish(Phase::decode);
  CHECK(device.rang("reaches past"));
}

TEST("fake device: ops outside of a step, steps in steps and steps that end with work in flight ring") {
  Device device;
  const Rows rows(0, 4, 0);
  device.write(Phase::prefill, rows);
  CHECK(device.rang("outside of a step"));
  device.lane(Phase::prefill).begin_step();
  device.lane(Phase::prefill).begin_step();
  CHECK(device.rang("a step begins in a step"));
  device.finish(Phase::prefill);
  device.lane(Phase::decode).begin_step();
  for (int i = 0; i < 20; i++) device.write(Phase::decode, rows);  // one of them stays undone: few are eager
  device.lane(Phase::decode).end_step();
  CHECK(device.rang("ends with work in flight"));
}

TEST("fake device: configuring it while a lane works rings") {
  Device device;
  CHECK(device.backend.configure({}) == Partition::none);
  CHECK_EQ(device.log->list().size(), 0);
  device.lane(Phase::decode).begin_step();
  (void)device.backend.configure({});
  device.finish(Phase::decode);
  CHECK(device.rang("while a lane has work"));
}
