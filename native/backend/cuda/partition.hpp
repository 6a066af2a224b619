// How the two lanes share the device: the chain green contexts -> MPS contexts -> CTA quota -> priority, and the splits
// that are prepared in each.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/backend.hpp"
#include "backend/cuda/device.hpp"
#include "backend/cuda/kernel_library.hpp"

namespace splitwiser::cuda {

// Where a lane issues: a stream, and the part of the device behind it.
struct LanePlace {
  std::shared_ptr<Stream> stream;
  DeviceShape shape;          // sms: as read back from the context
  int quota_sms = 0;          // CTA quota; 0: none
  double share = 1;           // of the device's SMs
  explicit operator bool() const { return stream != nullptr; }
};

using LanePlaces = std::array<LanePlace, kPhases>;

struct Split {
  double wanted_prefill_share;
  LanePlaces places;
};

struct PartitionSet {
  Partition kind = Partition::none;
  LanePlaces whole;           // while the other lane is idle; always where there are no splits
  std::vector<Split> splits;  // the first is the one that was asked for; empty: none and priority
  std::size_t active = 0;     // the split that lanes use while both work
  std::vector<std::string> notes;

  // The split that was prepared for this share, if any.
  [[nodiscard]] std::optional<std::size_t> split_for(double prefill_share) const;
};

// Throws invalid_option (share, a kind of another device), device_unavailable with the reason where `request.kind` cannot
// be had. Kernels are loaded in every context of the set.
[[nodiscard]] PartitionSet make_partition(const std::shared_ptr<Context>& primary, const KernelLibrary& kernels,
                                          const PartitionRequest& request);

// Decode's share of the device in each prepared split, the one that was asked for first, without repetitions.
[[nodiscard]] std::vector<double> decode_shares(double prefill_share);
// SMs of the decode lane: the multiple of `unit` next to the share, so that both lanes have at least `least`. 0: there is none.
[[nodiscard]] int decode_sms(int sms, double decode_share, int unit, int least);

}  // namespace splitwiser::cuda
