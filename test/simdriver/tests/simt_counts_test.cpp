// Counters against patterns whose numbers are known.
#include "simt_lab.hpp"

namespace lab {

namespace {

simt::Counters count(const char* kernel, std::uint32_t block, std::uint32_t first_flag = 0,
                     std::uint32_t second_flag = 0, std::uint32_t shared_bytes = 8192) {
  simt::Options options;
  options.seed = 11;
  Bench bench(options);
  bench.flags[1] = first_flag;
  bench.flags[2] = second_flag;
  const simt::GridResult result = bench.run({kernel, 1, block, shared_bytes});
  const std::string found = bench.found();
  if (result.status != simt::Status::ok || !found.empty()) {
    expect(false, std::string(kernel) + " is clean");
    std::printf("# %s %s\n", result.message.c_str(), found.c_str());
  }
  return result.counters;
}

void equal(std::uint64_t got, std::uint64_t wanted, const char* what) {
  expect(got == wanted, std::string(what) + ": " + std::to_string(wanted));
  if (got != wanted) std::printf("# got %llu\n", static_cast<unsigned long long>(got));
}

// The kernels read a flag or two first: one request of one sector each.
void test_global() {
  simt::Counters c = count("count_loads", 32, 1);
  equal(c.global_load_sectors - 2, 4, "32 neighbouring floats: sectors");
  equal(c.global_load_requests - 2, 1, "32 neighbouring floats: requests");
  equal(c.global_load_bytes - 2 * 32 * 4, 128, "32 neighbouring floats: bytes");
  equal(c.unique_load_sectors - 1, 4, "32 neighbouring floats: different sectors");
  equal(count("count_loads", 32, 1, 1).global_load_sectors - 2, 5, "32 floats from the second on: sectors");
  equal(count("count_loads", 32, 8).global_load_sectors - 2, 32, "32 floats, one in each sector: sectors");
  equal(count("count_loads", 32, 2).global_load_sectors - 2, 8, "every second float: sectors");
  equal(count("count_loads", 32, 0).global_load_sectors - 2, 1, "one float for all: sectors");
  equal(count("count_loads", 33, 1).global_load_requests - 4, 2, "33 threads: requests");

  c = count("count_loop", 32);
  equal(c.global_load_requests, 10, "ten rounds: requests");
  equal(c.global_load_sectors, 40, "ten rounds: sectors");
  equal(c.unique_load_sectors, 40, "ten rounds: different sectors");
  equal(c.global_store_sectors, 4, "one store: sectors");

  c = count("count_vectors", 64);
  equal(c.global_load_requests, 2, "16 bytes a lane, two warps: load requests");
  equal(c.global_load_sectors, 32, "16 bytes a lane, two warps: load sectors");
  equal(c.global_store_requests, 2, "16 bytes a lane, two warps: store requests");
  equal(c.global_store_bytes, 1024, "16 bytes a lane, two warps: store bytes");
  equal(c.unique_store_sectors, 32, "16 bytes a lane, two warps: different sectors stored");

  c = count("count_async", 32);
  equal(c.global_load_bytes, 256, "cp.async of 16 lanes, the others zero: bytes read");
  equal(c.global_load_sectors, 8, "cp.async of 16 lanes: sectors");
  equal(c.async_copy_conflicts, 0, "cp.async to neighbouring 16 bytes: conflicts");
}

void test_shared() {
  simt::Counters c = count("count_banks", 32, 1);
  equal(c.shared_load_conflicts + c.shared_store_conflicts, 0, "shared, neighbouring floats: conflicts");
  equal(c.shared_load_bytes, 128, "shared: bytes");
  c = count("count_banks", 32, 2);
  equal(c.shared_load_conflicts, 1, "shared, every second float: load conflicts");
  equal(c.shared_store_conflicts, 1, "shared, every second float: store conflicts");
  equal(count("count_banks", 32, 32).shared_load_conflicts, 31, "shared, one bank: conflicts");
  equal(count("count_banks", 32, 33).shared_load_conflicts, 0, "shared, rows of 33: conflicts");
  equal(count("count_vector_banks", 32, 1).shared_store_conflicts, 0, "shared, neighbouring 16 bytes: conflicts");
  // Lanes 32 bytes apart: 8 of them lie on 16 banks twice, in each of four phases.
  equal(count("count_vector_banks", 32, 2).shared_store_conflicts, 4, "shared, every second 16 bytes: conflicts");
}

void test_both_tiers() {
  equal(count("count_ldmatrix", 32, 16).ldmatrix_conflicts, 0, "ldmatrix, rows of 16 bytes: conflicts");
  equal(count("count_ldmatrix", 32, 144).ldmatrix_conflicts, 0, "ldmatrix, rows of 144 bytes: conflicts");
  equal(count("count_ldmatrix", 32, 128).ldmatrix_conflicts, 6 * 7, "ldmatrix, rows of 128 bytes: conflicts");
  equal(count("count_ldmatrix", 32, 64).ldmatrix_conflicts, 6 * 3, "ldmatrix, rows of 64 bytes: conflicts");
  equal(count("count_ldmatrix", 32, 0).ldmatrix_conflicts, 0, "ldmatrix, one row for all: conflicts");
  equal(count("count_ldmatrix", 64, 16).ldmatrix, 4, "ldmatrix, two warps twice");

  const simt::Counters c = count("count_meetings", 64);
  equal(c.mma, 6, "mma of two warps, three each");
  equal(c.shuffles, 10, "shuffles of two warps");
  equal(c.votes, 2, "votes of two warps");
  equal(c.warp_syncs, 2, "__syncwarp of two warps");
  equal(c.barriers, 1, "__syncthreads of a block");
  equal(c.atomics, 64, "atomics");
  equal(c.fences, 64, "fences");
  equal(c.launches, 1, "launches");
  const simt::Counters async = count("count_async", 32);
  equal(async.async_copy_bytes, 256, "cp.async: valid bytes");
  equal(async.async_copies, 32, "cp.async: instructions");
}

}  // namespace

void test_counts() {
  test_both_tiers();
  if (!simt::checked()) return;
  test_global();
  test_shared();
}

}  // namespace lab
