#include "traffic.hpp"

#include <cstdio>

#include "check.hpp"

namespace splitwiser::cuda_test {
namespace {

constexpr double kMost = 1.02;
constexpr double kMostPartials = 0.04;
constexpr double kSector = 32;

void must(bool truth, const std::string& name, const std::string& what) {
  check::record(truth, __FILE__, __LINE__, name + ": " + what);
}

std::string is_not(std::uint64_t value, std::uint64_t wanted) { return std::to_string(value) + " is not " + std::to_string(wanted); }

}  // namespace

void check_traffic(const std::string& name, const Traffic& need, const std::function<void()>& work) {
  const CountingTier tier = counting_tier();
  if (tier == CountingTier::real) {
    std::printf("# left out on a real GPU: traffic of %s (%s): the counters are the simulated device's\n", name.c_str(),
                need.kernel.c_str());
    return;
  }
  const simt::Counters seen = count(need.kernel, work);
  must(seen.launches == 1, name, need.kernel + " was launched " + std::to_string(seen.launches) + " times, not once");
  must(seen.async_copy_bytes == need.copied, name, "bytes copied: " + is_not(seen.async_copy_bytes, need.copied));
  must(seen.mma == need.mma, name, "matrix instructions: " + is_not(seen.mma, need.mma));
  must(seen.ldmatrix_conflicts == 0, name, "ldmatrix has " + std::to_string(seen.ldmatrix_conflicts) + " bank conflicts");
  if (tier == CountingTier::fast) {
    std::printf("# %s (%s): fast tier: %llu bytes copied, %llu matrix instructions, as the tiling says; sectors need the checked tier\n",
                name.c_str(), need.kernel.c_str(), static_cast<unsigned long long>(seen.async_copy_bytes),
                static_cast<unsigned long long>(seen.mma));
    return;
  }
  const double unique = kSector * double(seen.unique_load_sectors + seen.unique_store_sectors) / need.compulsory;
  const double asked = double(seen.global_load_bytes + seen.global_store_bytes) / (need.requested + need.arrays);
  const double streamed = need.streamed == 0 ? 0 : double(seen.async_copy_bytes - (need.copied - need.streamed)) / double(need.streamed);
  const double partials = need.streamed == 0 ? 0 : need.partials / double(need.streamed);
  std::printf("# %s (%s): unique sectors %.4f of compulsory, requested %.4f of the tiling's (%.1f %% arrays), streamed %.4f times, partials %.2f %%, "
              "conflicts: cp.async %llu, ldmatrix %llu, plain loads %llu, stores %llu\n",
              name.c_str(), need.kernel.c_str(), unique, asked, 100 * need.arrays / (need.requested + need.arrays), streamed, 100 * partials,
              static_cast<unsigned long long>(seen.async_copy_conflicts), static_cast<unsigned long long>(seen.ldmatrix_conflicts),
              static_cast<unsigned long long>(seen.shared_load_conflicts), static_cast<unsigned long long>(seen.shared_store_conflicts));
  must(unique <= kMost, name, "unique sectors are " + std::to_string(unique) + " of the compulsory ones, at most 1.02");
  must(asked <= kMost, name, "requested bytes are " + std::to_string(asked) + " of the tiling's, at most 1.02");
  // A formula that promises too much would hide a regression.
  must(asked >= 0.98, name, "requested bytes are only " + std::to_string(asked) + " of the tiling's");
  must(unique >= 0.98, name, "unique sectors are only " + std::to_string(unique) + " of the compulsory ones");
  must(seen.async_copy_conflicts == 0, name, "cp.async has " + std::to_string(seen.async_copy_conflicts) + " bank conflicts");
  if (need.streamed == 0) return;
  must(streamed == 1, name, "weights, keys and values are copied " + std::to_string(streamed) + " times, not once");
  must(partials <= kMostPartials, name, "partials are " + std::to_string(100 * partials) + " % of keys and values, at most 4");
}

}  // namespace splitwiser::cuda_test
