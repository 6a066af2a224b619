// Which partition is obtained, what is reported of it, and why better ones were not to be had.
#include <cstdlib>

#include "backend/cuda/cuda_backend.hpp"
#include "backend/cuda/partition.hpp"
#include "backend_rig.hpp"
#include "check.hpp"
#include "child_process.hpp"

namespace splitwiser {
namespace {

using namespace cuda_test;

std::unique_ptr<Backend> backend() { return make_cuda_backend({.ordinal = 0, .storage = DType::f16}); }

int device_sms() { return describe_cuda().front().sms; }

std::string setting(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

TEST("child: the partition that EXPECT_PARTITION names is obtained and works") {
  const std::string expected = setting("EXPECT_PARTITION");
  Rig rig(backend(), DType::f16);
  PartitionRequest request;
  request.prefill_share = 0.75;
  const Partition got = rig.backend().configure(request);
  if (!expected.empty()) CHECK_EQ(std::string(name_of(got)), expected);
  std::string notes;
  for (const std::string& note : rig.backend().partition_notes()) notes += note + "\n";
  CHECK(notes.find(setting("EXPECT_NOTE")) != std::string::npos);

  const LaneInfo prefill = rig.lane(Phase::prefill).info();
  const LaneInfo decode = rig.lane(Phase::decode).info();
  const int sms = device_sms();
  if (got == Partition::priority) {
    CHECK_EQ(prefill.sms, sms);
    CHECK_EQ(decode.sms, sms);
  } else {
    CHECK(prefill.sms + decode.sms <= sms);
    CHECK(decode.sms >= 1);
    CHECK(prefill.sms >= decode.sms);  // equal where SMs come in units of 8 and there are 16
    CHECK_NEAR(prefill.share, double(prefill.sms) / double(sms), 1e-9);
  }
  RigStep step;
  step.add(random_tokens(5, rig.shape().vocab, 1), 0, page_run(0, 5, 16));
  CHECK(same_bits(rig.logits(Phase::prefill, step), rig.logits(Phase::decode, step)));
}

void expect(const char* partition, const char* note, Settings settings) {
  if (!simulated()) {
    CHECK(true);  // a real device is what it is: the test above says what it gives
    return;
  }
  settings.emplace_back("EXPECT_PARTITION", partition);
  settings.emplace_back("EXPECT_NOTE", note);
  const ChildResult child = run_child("child: the partition that EXPECT_PARTITION names", settings);
  CHECK_EQ(child.status, 0);
  if (child.status != 0) CHECK_EQ(child.output, std::string());
}

TEST("green contexts are taken first") { expect("green-context", "", {{"SIMDRIVER_SMS", "32"}}); }
TEST("without green contexts MPS contexts are taken") {
  expect("mps", "green-context: ", {{"SIMDRIVER_GREEN", "0"}, {"SIMDRIVER_MPS", "1"}});
}
TEST("without green contexts and MPS a quota of blocks is taken") {
  expect("cta-quota", "mps: no MPS server runs", {{"SIMDRIVER_GREEN", "0"}});
}
TEST("a driver without the calls of green contexts says so") {
  expect("cta-quota", "green-context: this driver has no green contexts", {{"SIMDRIVER_MISSING", "cuGreenCtxStreamCreate"}});
}
TEST("a device with too few SMs for green contexts gets a quota") {
  expect("cta-quota", "SMs cannot be cut in two", {{"SIMDRIVER_SMS", "8"}});
}
TEST("with one SM priority is all there is") {
  expect("priority", "cta-quota: one SM cannot be cut in two", {{"SIMDRIVER_SMS", "1"}});
}

TEST("a prepared split is taken without new streams, another one is made") {
  const auto device = backend();
  PartitionRequest request;
  request.kind = Partition::cta_quota;
  request.prefill_share = 0.5;
  CHECK_EQ(device->configure(request), Partition::cta_quota);
  const int sms = device_sms();
  CHECK_EQ(device->lane(Phase::decode).info().sms, sms - sms / 2);
  request.prefill_share = 0.75;
  CHECK_EQ(device->configure(request), Partition::cta_quota);
  CHECK_EQ(device->lane(Phase::decode).info().sms, cuda::decode_sms(sms, 0.25, 1, 1));
  request.prefill_share = 0.9;
  CHECK_EQ(device->configure(request), Partition::cta_quota);
  CHECK_EQ(device->lane(Phase::decode).info().sms, cuda::decode_sms(sms, 0.1, 1, 1));
}

TEST("partitions that cannot be had are refused with the reason, and the old one stays") {
  const auto device = backend();
  PartitionRequest request;
  request.kind = Partition::cta_quota;
  CHECK_EQ(device->configure(request), Partition::cta_quota);
  const int before = device->lane(Phase::decode).info().sms;
  request.kind = Partition::cores;
  CHECK_THROWS_CODE(device->configure(request), ErrorCode::invalid_option);
  request.kind = Partition::priority;
  request.prefill_share = 1.0;
  CHECK_THROWS_CODE(device->configure(request), ErrorCode::invalid_option);
  if (simulated()) {
    request.kind = Partition::mps;
    request.prefill_share = 0.5;
    CHECK_THROWS_CODE(device->configure(request), ErrorCode::device_unavailable);
  }
  CHECK_EQ(device->lane(Phase::decode).info().sms, before);
}

TEST("lanes that part say whose multiprocessors may have had work of both") {
  Rig rig(backend(), DType::f16);
  PartitionRequest request;
  request.kind = Partition::cta_quota;
  CHECK_EQ(rig.backend().configure(request), Partition::cta_quota);
  Lane& prefill = rig.lane(Phase::prefill);
  Lane& decode = rig.lane(Phase::decode);
  const auto shared = [&] { return std::pair(prefill.take_shared_sms(), decode.take_shared_sms()); };
  const std::pair neither(false, false), both(true, true);
  RigStep prompt, token;
  prompt.add(random_tokens(40, rig.shape().vocab, 1), 0, page_run(0, 40, 16));
  token.add(random_tokens(1, rig.shape().vocab, 2), 0, page_run(10, 1, 16));
  const StepInput prompt_in = prompt.input(), token_in = token.input();

  prefill.begin_step();
  static_cast<void>(rig.forward(Phase::prefill, prompt_in));
  CHECK(shared() == neither);  // nobody else works
  decode.begin_step();
  CHECK(shared() == both);     // the prompt has the whole device
  prefill.synchronize(*prefill.record());
  prefill.yield_point();       // the prompt moves to its share, and what it had there before is done
  CHECK(shared() == neither);
  static_cast<void>(rig.forward(Phase::decode, token_in));
  static_cast<void>(rig.forward(Phase::prefill, prompt_in));
  CHECK(shared() == neither);
  prefill.synchronize(*prefill.record());
  prefill.end_step();
  decode.yield_point();        // alone: it spreads
  prefill.begin_step();
  CHECK(shared() == both);
  prefill.end_step();
  decode.synchronize(*decode.record());
  decode.end_step();
  decode.begin_step();
  prefill.begin_step();        // nothing was issued before they parted, but it might have been
  CHECK(shared() == both);
  prefill.end_step();
  decode.end_step();
}

TEST("splits: the share that was asked for comes first, none twice, SMs in whole units") {
  CHECK_EQ(cuda::decode_shares(0.5), (std::vector<double>{0.5, 0.25, 0.375, 0.75}));
  CHECK_EQ(cuda::decode_shares(0.9).size(), 4u);
  CHECK_NEAR(cuda::decode_shares(0.9)[0], 0.1, 1e-12);
  CHECK_EQ(cuda::decode_sms(132, 0.25, 8, 8), 32);
  CHECK_EQ(cuda::decode_sms(132, 0.01, 8, 8), 8);
  CHECK_EQ(cuda::decode_sms(132, 0.99, 8, 8), 120);  // 12 are left: one group of 8 fits, its 4 are the remainder's
  CHECK_EQ(cuda::decode_sms(8, 0.5, 8, 8), 0);
  CHECK_EQ(cuda::decode_sms(16, 0.5, 8, 8), 8);
  CHECK_EQ(cuda::decode_sms(2, 0.9, 1, 1), 1);
  CHECK_EQ(cuda::decode_sms(1, 0.5, 1, 1), 0);
}

}  // namespace
}  // namespace splitwiser
