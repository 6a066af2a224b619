// Planted bugs of memory, each with a clean twin: raw dereferences, as kernels have them. A line that a detector must
// name carries "bug: <name>".
#include "ptx.cuh"
#include "simt_params.hpp"

using namespace splitwiser;

namespace {

__device__ float* shared_floats() { return reinterpret_cast<float*>(ptx::shared_memory()); }

template <bool Bug>
__device__ void barrier_missing(const TestParams& p) {
  float* s = shared_floats();
  s[threadIdx.x] = 0;
  __syncthreads();
  s[threadIdx.x] = float(threadIdx.x);  // bug: barrier_missing
  if (!Bug) __syncthreads();
  p.a[threadIdx.x] = s[(threadIdx.x + 32) % blockDim.x];  // bug: barrier_missing
}

template <bool Bug>
__device__ void second_barrier_missing(const TestParams& p) {
  float* s = shared_floats();
  float sum = 0;
  for (int round = 0; round < 3; ++round) {
    s[threadIdx.x] = float(round);  // bug: second_barrier_missing
    __syncthreads();
    sum += s[(threadIdx.x + 32) % blockDim.x];  // bug: second_barrier_missing
    if (!Bug) __syncthreads();
  }
  p.a[threadIdx.x] = sum;
}

template <bool Bug>
__device__ void syncwarp_missing(const TestParams& p) {
  float* s = shared_floats();
  s[threadIdx.x] = 0;
  __syncthreads();
  s[threadIdx.x] = float(threadIdx.x);  // bug: syncwarp_missing
  if (!Bug) __syncwarp();
  p.a[threadIdx.x] = s[threadIdx.x ^ 1];  // bug: syncwarp_missing
}

template <bool Bug>
__device__ void second_syncwarp_missing(const TestParams& p) {
  float* s = shared_floats();
  s[threadIdx.x] = 1.0f;
  __syncwarp();
  p.a[threadIdx.x] = s[threadIdx.x ^ 1];  // bug: second_syncwarp_missing
  if (!Bug) __syncwarp();
  s[threadIdx.x] = 2.0f;  // bug: second_syncwarp_missing
}

template <bool Bug>
__device__ void shuffle_is_no_fence(const TestParams& p) {
  float* s = shared_floats();
  s[threadIdx.x] = float(threadIdx.x);  // bug: shuffle_is_no_fence
  const float other = __shfl_xor_sync(0xffffffffu, float(threadIdx.x), 1);
  if (!Bug) __syncwarp();
  p.a[threadIdx.x] = other + s[threadIdx.x ^ 1];  // bug: shuffle_is_no_fence
}

template <bool Bug>
__device__ void read_past_end(const TestParams& p) {
  const int at = Bug && threadIdx.x == 0 ? p.n : int(threadIdx.x);
  p.b[threadIdx.x] = p.a[at];  // bug: read_past_end
}

template <bool Bug>
__device__ void write_past_end(const TestParams& p) {
  const int at = Bug && threadIdx.x == 0 ? p.n : int(threadIdx.x);
  p.b[at] = 1.0f;  // bug: write_past_end
}

template <bool Bug>
__device__ void shared_past_end(const TestParams& p) {
  float* s = shared_floats();
  s[Bug && threadIdx.x == 0 ? blockDim.x : threadIdx.x] = 1.0f;  // bug: shared_past_end
  p.b[threadIdx.x] = 1.0f;
}

template <bool Bug>
__device__ void shared_uninitialised(const TestParams& p) {
  float* s = shared_floats();
  if (!Bug || threadIdx.x != 5) s[threadIdx.x] = 1.0f;
  p.b[threadIdx.x] = s[threadIdx.x];  // bug: shared_uninitialised
}

template <bool Bug>
__device__ void global_uninitialised(const TestParams& p) {
  if (!Bug || threadIdx.x != 5) p.b[threadIdx.x] = 1.0f;
  p.a[threadIdx.x] = p.b[threadIdx.x];  // bug: global_uninitialised
}

template <bool Bug>
__device__ void misaligned_vector(const TestParams& p) {
  const float4 v = *reinterpret_cast<const float4*>(p.a + (Bug ? 1 : 4));  // bug: misaligned_vector
  p.b[threadIdx.x] = v.x + v.w;
}

template <bool Bug>
__device__ void blocks_race(const TestParams& p) {
  p.b[Bug ? threadIdx.x : blockIdx.x * blockDim.x + threadIdx.x] = 1.0f;  // bug: blocks_race
}

__device__ void plain_write_body(const TestParams& p) { p.b[threadIdx.x] = 1.0f; }  // bug: grids_race
__device__ void plain_read_body(const TestParams& p) { p.a[threadIdx.x] = p.b[threadIdx.x]; }  // bug: grids_race

template <bool Bug>
__device__ void read_only_of_written(const TestParams& p) {
  p.b[threadIdx.x] = 1.0f;  // bug: read_only_of_written
  __syncthreads();
  const float* from = (Bug ? p.b : p.a) + threadIdx.x / 4 * 4;
  const uint4 v = ptx::load_nc_16(from);  // bug: read_only_of_written
  p.flags[threadIdx.x] = v.x;
}

// Blocks publish what they wrote; the last to come reads it all.
enum class Publish { acq_rel, relaxed, fenced, no_last_barrier };
template <Publish How>
__device__ void publish(const TestParams& p) {
  float* s = shared_floats();
  p.b[blockIdx.x * blockDim.x + threadIdx.x] = 1.0f;  // bug: publish
  __syncthreads();
  if (threadIdx.x == 0) {
    unsigned before;
    if (How == Publish::relaxed) {
      before = atomicAdd(p.flags, 1u);
    } else if (How == Publish::fenced) {
      __threadfence();
      before = atomicAdd(p.flags, 1u);
      __threadfence();
    } else {
      before = ptx::add_acq_rel(p.flags, 1u);
    }
    s[0] = before + 1 == gridDim.x ? 1.0f : 0.0f;
  }
  bool last = false;
  if (How == Publish::no_last_barrier) {
    last = __shfl_sync(0xffffffffu, threadIdx.x == 0 ? s[0] : 0.0f, 0) != 0.0f;
  } else {
    __syncthreads();
    last = s[0] != 0.0f;
  }
  if (!last) return;
  float sum = 0;
  for (unsigned block = 0; block < gridDim.x; ++block) {
    sum += ptx::load_cg(p.b + block * blockDim.x + threadIdx.x);  // bug: publish
  }
  p.a[threadIdx.x] = sum;
}

template <bool Bug>
__device__ void atomic_and_plain(const TestParams& p) {
  if (!Bug || threadIdx.x != 0) atomicAdd(p.flags, 1u);  // bug: atomic_and_plain
  if (Bug && threadIdx.x == 0) p.flags[0] = 1;            // bug: atomic_and_plain
}

// Neighbours write halves of one word: no race.
__device__ void halves_body(const TestParams& p) {
  auto* to = reinterpret_cast<std::uint16_t*>(p.b);
  to[threadIdx.x] = std::uint16_t(threadIdx.x);
  __syncthreads();
  p.a[threadIdx.x] = float(to[threadIdx.x ^ 1]);
}

__constant__ constexpr float kTable[4] = {1, 2, 3, 4};

// Local arrays, tables and parameters are nobody's business.
__device__ void own_data_body(const TestParams& p) {
  float local[8];
  for (int i = 0; i < 8; ++i) local[i] = kTable[(i + int(threadIdx.x)) % 4];
  p.b[threadIdx.x] = local[(threadIdx.x + unsigned(p.n)) % 8];
}

// ---- cp.async -----------------------------------------------------------------------------------

enum class Async { good, no_wait, too_few, no_barrier, overwritten };
template <Async How>
__device__ void async_copy(const TestParams& p) {
  float* s = shared_floats();
  const unsigned t = threadIdx.x, count = blockDim.x;
  for (unsigned i = t; i < count * 8; i += count) s[i] = 0;
  __syncthreads();
  ptx::cp_async_16(s + t * 4, p.a + t * 4);  // bug: async_copy
  ptx::cp_async_commit();
  ptx::cp_async_16(s + (count + t) * 4, p.a + t * 4, 4);
  ptx::cp_async_commit();
  if (How == Async::overwritten) s[t * 4] = 1.0f;  // bug: async_copy
  if (How == Async::too_few) ptx::cp_async_wait<2>();
  else if (How != Async::no_wait) ptx::cp_async_wait<0>();
  if (How != Async::no_barrier) __syncthreads();
  const unsigned other = (t + 32) % count;
  p.b[t] = s[other * 4];  // bug: async_copy
  if (How == Async::good) p.b[t] = s[other * 4] + s[(count + other) * 4] + s[(count + other) * 4 + 1];
}

__device__ void async_misaligned_body(const TestParams& p) {
  ptx::cp_async_16(shared_floats() + threadIdx.x * 4, p.a + 1 + threadIdx.x * 4);  // bug: async_misaligned
  ptx::cp_async_commit();
  ptx::cp_async_wait<0>();
}

}  // namespace

#define TWINS(name)                                                              \
  SPLITWISER_KERNEL(name##_bug, TestParams, 256, 1) { name<true>(params); }      \
  SPLITWISER_KERNEL(name##_clean, TestParams, 256, 1) { name<false>(params); }

TWINS(barrier_missing)
TWINS(second_barrier_missing)
TWINS(syncwarp_missing)
TWINS(second_syncwarp_missing)
TWINS(shuffle_is_no_fence)
TWINS(read_past_end)
TWINS(write_past_end)
TWINS(shared_past_end)
TWINS(shared_uninitialised)
TWINS(global_uninitialised)
TWINS(misaligned_vector)
TWINS(blocks_race)
TWINS(read_only_of_written)
TWINS(atomic_and_plain)
SPLITWISER_KERNEL(plain_write, TestParams, 256, 1) { plain_write_body(params); }
SPLITWISER_KERNEL(plain_read, TestParams, 256, 1) { plain_read_body(params); }
SPLITWISER_KERNEL(publish_acq_rel, TestParams, 256, 1) { publish<Publish::acq_rel>(params); }
SPLITWISER_KERNEL(publish_fenced, TestParams, 256, 1) { publish<Publish::fenced>(params); }
SPLITWISER_KERNEL(publish_relaxed, TestParams, 256, 1) { publish<Publish::relaxed>(params); }
SPLITWISER_KERNEL(publish_no_last_barrier, TestParams, 256, 1) { publish<Publish::no_last_barrier>(params); }
SPLITWISER_KERNEL(halves, TestParams, 256, 1) { halves_body(params); }
SPLITWISER_KERNEL(own_data, TestParams, 256, 1) { own_data_body(params); }
SPLITWISER_KERNEL(async_good, TestParams, 256, 1) { async_copy<Async::good>(params); }
SPLITWISER_KERNEL(async_no_wait, TestParams, 256, 1) { async_copy<Async::no_wait>(params); }
SPLITWISER_KERNEL(async_too_few, TestParams, 256, 1) { async_copy<Async::too_few>(params); }
SPLITWISER_KERNEL(async_no_barrier, TestParams, 256, 1) { async_copy<Async::no_barrier>(params); }
SPLITWISER_KERNEL(async_overwritten, TestParams, 256, 1) { async_copy<Async::overwritten>(params); }
SPLITWISER_KERNEL(async_misaligned, TestParams, 256, 1) { async_misaligned_body(params); }
