#include "backend/cuda/partition.hpp"

#include <algorithm>
#include <cmath>

#include "backend/cuda/memory_litmus.hpp"

namespace splitwiser::cuda {
namespace {

constexpr double kDefaultShare = 0.5;
constexpr std::array kPreparedDecodeShares{0.25, 0.375, 0.5, 0.75};
constexpr std::size_t kMostSplits = 4;
constexpr double kSameShare = 1e-6;

// Why a link of the chain cannot be had.
struct Refusal {
  std::string reason;
};

class Maker {
 public:
  Maker(const std::shared_ptr<Context>& primary, const KernelLibrary& kernels, double prefill_share)
      : primary_(primary), kernels_(kernels), device_(primary->device()), driver_(device_.driver()), share_(prefill_share) {}

  [[nodiscard]] PartitionSet make(Partition kind) {
    PartitionSet set;
    set.kind = kind;
    const auto decode_priority = kind == Partition::none ? Stream::Priority::normal : Stream::Priority::high;
    set.whole[int(Phase::prefill)] = whole_place(Stream::Priority::normal);
    set.whole[int(Phase::decode)] = whole_place(decode_priority);
    if (kind == Partition::green_context) {
      make_green(set);
    } else if (kind == Partition::mps) {
      make_mps(set);
    } else if (kind == Partition::cta_quota) {
      make_quota(set);
    }
    return set;
  }

 private:
  [[nodiscard]] int sms() const { return device_.shape().sms; }

  [[nodiscard]] LanePlace whole_place(Stream::Priority priority) const {
    return {std::make_shared<Stream>(primary_, priority), device_.shape(), 0, 1};
  }

  [[nodiscard]] LanePlace place_in(const std::shared_ptr<Context>& context, Phase phase) const {
    LanePlace place;
    const auto priority = phase == Phase::decode ? Stream::Priority::high : Stream::Priority::normal;
    place.stream = std::make_shared<Stream>(context, priority);
    place.shape = device_.shape();
    place.shape.sms = context->sms();
    place.share = double(context->sms()) / double(sms());
    return place;
  }

  // A call whose failure means that this link of the chain is not there. A lost device ends everything.
  void need(CUresult result, const char* call) const {
    if (result == CUDA_SUCCESS) return;
    if (is_sticky(result) && result != CUDA_ERROR_MPS_RPC_FAILURE) device_.check(result, call);
    throw Refusal{std::string(call) + " says " + driver_.text_of(result)};
  }
  void check_litmus(const LanePlaces& places) const {
    if (const auto failure = memory_litmus(kernels_, *places[0].stream, *places[1].stream)) throw Refusal{*failure};
  }

  // ---- green contexts ---------------------------------------------------------------------------

  [[nodiscard]] std::shared_ptr<Context> green_context(CUdevResource resource) const {
    CUdevResourceDesc description = nullptr;
    need(driver_.DevResourceGenerateDesc(&description, &resource, 1), "cuDevResourceGenerateDesc");
    CUgreenCtx green = nullptr;
    need(driver_.GreenCtxCreate(&green, description, device_.handle(), CU_GREEN_CTX_DEFAULT_STREAM), "cuGreenCtxCreate");
    CUcontext handle = nullptr;
    CUdevResource obtained{};
    try {
      need(driver_.CtxFromGreenCtx(&handle, green), "cuCtxFromGreenCtx");
      need(driver_.GreenCtxGetDevResource(green, &obtained, CU_DEV_RESOURCE_TYPE_SM), "cuGreenCtxGetDevResource");
    } catch (...) {
      driver_.GreenCtxDestroy(green);
      throw;
    }
    return std::make_shared<Context>(primary_->device_pointer(), handle, green, int(obtained.sm.smCount));
  }

  void make_green(PartitionSet& set) const {
    if (driver_.DeviceGetDevResource == nullptr || driver_.DevSmResourceSplitByCount == nullptr ||
        driver_.DevResourceGenerateDesc == nullptr || driver_.GreenCtxCreate == nullptr || driver_.CtxFromGreenCtx == nullptr ||
        driver_.GreenCtxDestroy == nullptr || driver_.GreenCtxGetDevResource == nullptr ||
        driver_.GreenCtxStreamCreate == nullptr) {
      throw Refusal{"this driver has no green contexts"};
    }
    CUdevResource all{};
    need(driver_.DeviceGetDevResource(device_.handle(), &all, CU_DEV_RESOURCE_TYPE_SM), "cuDeviceGetDevResource");
    const int available = int(all.sm.smCount);
    const int unit = std::max(1, int(all.sm.smCoscheduledAlignment));
    const int least = std::max(unit, int(all.sm.minSmPartitionSize));
    std::vector<int> made;
    for (const double decode_share : decode_shares(share_)) {
      const int wanted = decode_sms(available, decode_share, unit, least);
      if (wanted == 0) {
        throw Refusal{std::to_string(available) + " SMs cannot be cut in two: a green context has at least " +
                      std::to_string(least)};
      }
      if (std::ranges::find(made, wanted) != made.end()) continue;
      made.push_back(wanted);
      CUdevResource decode{};
      CUdevResource rest{};
      unsigned groups = 1;
      need(driver_.DevSmResourceSplitByCount(&decode, &groups, &all, &rest, 0, unsigned(wanted)),
           "cuDevSmResourceSplitByCount");
      if (groups != 1 || rest.sm.smCount == 0) throw Refusal{"cuDevSmResourceSplitByCount left no SMs for the other lane"};
      Split split{1 - decode_share, {}};
      split.places[int(Phase::decode)] = place_in(green_context(decode), Phase::decode);
      split.places[int(Phase::prefill)] = place_in(green_context(rest), Phase::prefill);
      add(set, std::move(split));
    }
  }

  // ---- MPS contexts -----------------------------------------------------------------------------

  [[nodiscard]] std::shared_ptr<Context> mps_context(int wanted) const {
    CUexecAffinityParam affinity{};
    affinity.type = CU_EXEC_AFFINITY_TYPE_SM_COUNT;
    affinity.param.smCount.val = unsigned(wanted);
    CUctxCreateParams params{&affinity, 1, nullptr};
    CUcontext handle = nullptr;
    need(driver_.CtxCreate(&handle, &params, CU_CTX_SCHED_BLOCKING_SYNC, device_.handle()), "cuCtxCreate");
    // It is current now, which is what the question below needs.
    CUexecAffinityParam obtained{};
    const CUresult asked = driver_.CtxGetExecAffinity(&obtained, CU_EXEC_AFFINITY_TYPE_SM_COUNT);
    CUcontext popped = nullptr;
    driver_.CtxPopCurrent(&popped);
    auto context = std::make_shared<Context>(primary_->device_pointer(), handle, nullptr, int(obtained.param.smCount.val));
    need(asked, "cuCtxGetExecAffinity");
    if (context->sms() < 1) throw Refusal{"cuCtxGetExecAffinity says that the context has no SMs"};
    return context;
  }

  void make_mps(PartitionSet& set) const {
    if (driver_.DeviceGetExecAffinitySupport == nullptr || driver_.CtxCreate == nullptr || driver_.CtxDestroy == nullptr ||
        driver_.CtxGetExecAffinity == nullptr) {
      throw Refusal{"this driver has no execution affinity"};
    }
    if (device_.attribute(CU_DEVICE_ATTRIBUTE_MPS_ENABLED) == 0) {
      throw Refusal{"no MPS server runs for this process (nvidia-cuda-mps-control -d starts one)"};
    }
    int supported = 0;
    const CUresult asked = driver_.DeviceGetExecAffinitySupport(&supported, CU_EXEC_AFFINITY_TYPE_SM_COUNT, device_.handle());
    if (asked != CUDA_SUCCESS || supported == 0) throw Refusal{"the MPS server offers no execution affinity by SM count"};
    // One split only: each context costs hundreds of megabytes of device memory.
    const double decode_share = 1 - share_;
    const int decode = decode_sms(sms(), decode_share, 1, 1);
    if (decode == 0) throw Refusal{"one SM cannot be cut in two"};
    Split split{share_, {}};
    split.places[int(Phase::decode)] = place_in(mps_context(decode), Phase::decode);
    split.places[int(Phase::prefill)] = place_in(mps_context(sms() - decode), Phase::prefill);
    add(set, std::move(split));
  }

  void add(PartitionSet& set, Split split) const {
    for (const LanePlace& place : split.places) kernels_.load_in(place.stream->context());
    check_litmus(split.places);
    set.splits.push_back(std::move(split));
  }

  // ---- quota ------------------------------------------------------------------------------------

  void make_quota(PartitionSet& set) const {
    std::vector<int> made;
    for (const double decode_share : decode_shares(share_)) {
      const int decode = decode_sms(sms(), decode_share, 1, 1);
      if (decode == 0) throw Refusal{"one SM cannot be cut in two"};
      if (std::ranges::find(made, decode) != made.end()) continue;
      made.push_back(decode);
      Split split{1 - decode_share, set.whole};
      for (const Phase phase : {Phase::prefill, Phase::decode}) {
        LanePlace& place = split.places[int(phase)];
        place.shape.sms = place.quota_sms = phase == Phase::decode ? decode : sms() - decode;
        place.share = double(place.quota_sms) / double(sms());
      }
      set.splits.push_back(std::move(split));
    }
  }

  const std::shared_ptr<Context>& primary_;
  const KernelLibrary& kernels_;
  const Device& device_;
  const Driver& driver_;
  double share_;
};

}  // namespace

std::vector<double> decode_shares(double prefill_share) {
  std::vector<double> shares{1 - prefill_share};
  for (const double share : kPreparedDecodeShares) {
    const bool there = std::ranges::any_of(shares, [&](double other) { return std::abs(other - share) < kSameShare; });
    if (!there && shares.size() < kMostSplits) shares.push_back(share);
  }
  return shares;
}

int decode_sms(int sms, double decode_share, int unit, int least) {
  if (sms < 2 * least) return 0;
  const int nearest = int(std::lround(decode_share * sms / unit)) * unit;
  // The other lane has what is left, which need not be a multiple.
  const int lowest = (least + unit - 1) / unit * unit;
  const int highest = (sms - least) / unit * unit;
  return lowest > highest ? 0 : std::clamp(nearest, lowest, highest);
}

std::optional<std::size_t> PartitionSet::split_for(double prefill_share) const {
  for (std::size_t i = 0; i < splits.size(); i++) {
    if (std::abs(splits[i].wanted_prefill_share - prefill_share) < kSameShare) return i;
  }
  return std::nullopt;
}

PartitionSet make_partition(const std::shared_ptr<Context>& primary, const KernelLibrary& kernels,
                            const PartitionRequest& request) {
  const double share = request.prefill_share.value_or(kDefaultShare);
  if (!(share > 0 && share < 1)) {
    throw Error(ErrorCode::invalid_option, "prefillShare: expected a number between 0 and 1, got " + std::to_string(share));
  }
  Maker maker(primary, kernels, share);
  std::vector<std::string> notes;
  if (const std::string& note = primary->device().driver().note; !note.empty()) notes.push_back(note);
  const auto with_notes = [&](PartitionSet set) {
    set.notes = std::move(notes);
    return set;
  };
  if (request.kind) {
    if (*request.kind == Partition::cores) {
      throw Error(ErrorCode::invalid_option, "partition \"cores\" is for CPUs: on CUDA there are \"green-context\", \"mps\", "
                                             "\"cta-quota\", \"priority\" and \"none\"");
    }
    try {
      return with_notes(maker.make(*request.kind));
    } catch (const Refusal& refusal) {
      throw Error(ErrorCode::device_unavailable, std::string("partition \"") + name_of(*request.kind) + "\" cannot be had on " +
                                                     primary->device().name() + ": " + refusal.reason +
                                                     ". Choose another one, or \"auto\"");
    }
  }
  for (const Partition kind : {Partition::green_context, Partition::mps, Partition::cta_quota}) {
    try {
      return with_notes(maker.make(kind));
    } catch (const Refusal& refusal) {
      notes.push_back(std::string(name_of(kind)) + ": " + refusal.reason);
    }
  }
  return with_notes(maker.make(Partition::priority));
}

}  // namespace splitwiser::cuda
