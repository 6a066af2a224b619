// Kernels with known traffic and known results.
#include "ptx.cuh"
#include "simt_params.hpp"

using namespace splitwiser;

namespace {
constexpr unsigned kAll = 0xffffffffu;
__device__ float* shared_floats() { return reinterpret_cast<float*>(ptx::shared_memory()); }
}  // namespace

// flags[1]: distance of neighbours' floats; flags[2]: where the first lies.
SPLITWISER_KERNEL(count_loads, TestParams, 256, 1) {
  const unsigned stride = params.flags[1], first = params.flags[2];
  const float v = params.a[first + threadIdx.x * stride];
  if (v < 0) params.b[0] = v;
}
SPLITWISER_KERNEL(count_loop, TestParams, 256, 1) {
  float sum = 0;
  for (int round = 0; round < 10; ++round) sum += params.a[round * 32 + threadIdx.x];
  params.b[threadIdx.x] = sum;
}
SPLITWISER_KERNEL(count_vectors, TestParams, 256, 1) {
  const float4 v = reinterpret_cast<const float4*>(params.a)[threadIdx.x];
  reinterpret_cast<float4*>(params.b)[threadIdx.x] = v;
}
SPLITWISER_KERNEL(count_async, TestParams, 256, 1) {
  float* s = shared_floats();
  ptx::cp_async_16(s + threadIdx.x * 4, params.a + threadIdx.x * 4, threadIdx.x < 16 ? 16 : 0);
  ptx::cp_async_commit();
  ptx::cp_async_wait<0>();
  __syncthreads();
  params.b[threadIdx.x] = s[threadIdx.x * 4 + 3];
}
// flags[1]: stride of the shared accesses in floats.
SPLITWISER_KERNEL(count_banks, TestParams, 256, 1) {
  float* s = shared_floats();
  const unsigned stride = params.flags[1];
  s[threadIdx.x * stride] = 1.0f;
  __syncthreads();
  if (s[threadIdx.x * stride] == 0.0f) params.b[0] = 1.0f;
}
SPLITWISER_KERNEL(count_vector_banks, TestParams, 256, 1) {
  auto* s = reinterpret_cast<float4*>(ptx::shared_memory());
  s[threadIdx.x * params.flags[1]] = make_float4(1, 2, 3, 4);
}
// flags[1]: bytes from row to row.
SPLITWISER_KERNEL(count_ldmatrix, TestParams, 256, 1) {
  char* s = ptx::shared_memory();
  for (unsigned i = threadIdx.x; i < 32 * 144 / 4; i += blockDim.x) reinterpret_cast<unsigned*>(s)[i] = i;
  __syncthreads();
  std::uint32_t four[4], two[2];
  ptx::ldmatrix_x4(four, s + threadIdx.x % 32 * params.flags[1]);
  ptx::ldmatrix_x2_trans(two, s + threadIdx.x % 16 * params.flags[1]);
  params.b[threadIdx.x] = float(four[0] ^ two[0]);
}
SPLITWISER_KERNEL(count_meetings, TestParams, 256, 1) {
  std::uint32_t a[4] = {}, b[2] = {};
  float d[4] = {};
  for (int i = 0; i < 3; ++i) ptx::mma_m16n8k16(ptx::BF16{}, d, a, b);
  for (int i = 0; i < 5; ++i) d[0] += __shfl_xor_sync(kAll, d[0], 1);
  if (__any_sync(kAll, d[0] > 0)) atomicAdd(params.flags, 1u);
  __syncwarp();
  __syncthreads();
  atomicAdd(params.flags, 1u);
  __threadfence();
}

// Each block counts itself; flags[0]: blocks that have begun and not ended, flags[1]: the most at once.
SPLITWISER_KERNEL(live_blocks, TestParams, 256, 1) {
  if (threadIdx.x == 0) {
    const unsigned now = atomicAdd(params.flags, 1u) + 1;
    atomicMax(params.flags + 1, now);
    atomicAdd(params.flags + 2, 1u);
  }
  for (int i = 0; i < 20; ++i) __syncthreads();
  if (threadIdx.x == 0) atomicSub(params.flags, 1u);
}
// Waits until another grid says so by flags[8].
SPLITWISER_KERNEL(wait_for_other, TestParams, 256, 1) {
  if (threadIdx.x == 0) {
    while (atomicAdd(params.flags + 8, 0u) == 0) {
    }
  }
  __syncthreads();
}
SPLITWISER_KERNEL(tell_other, TestParams, 256, 1) {
  if (threadIdx.x == 0) atomicAdd(params.flags + 8, 1u);
}
// Which lane of the warp comes first after each __syncwarp: not always the same.
SPLITWISER_KERNEL(first_lanes, TestParams, 32, 1) {
  for (unsigned round = 0; round < 16; ++round) {
    const unsigned turn = atomicAdd(params.flags + 16 + round, 1u);
    if (turn == 0) params.b[round] = float(threadIdx.x);
    __syncwarp();
  }
}

// The collectives' results, a word of b for each lane and each.
SPLITWISER_KERNEL(collectives, TestParams, 32, 1) {
  const int lane = int(threadIdx.x);
  const float v = params.a[lane];  // = lane
  float* out = params.b + lane;
  out[0] = __shfl_sync(kAll, v, lane + 5);                 // (lane + 5) % 32
  out[32] = __shfl_sync(kAll, v, 3, 8);                    // lane / 8 * 8 + 3
  out[64] = __shfl_up_sync(kAll, v, 2);
  out[96] = __shfl_down_sync(kAll, v, 3, 16);
  out[128] = __shfl_xor_sync(kAll, v, 6);
  out[160] = float(__popc(__ballot_sync(kAll, lane < 9)));
  out[192] = float(__any_sync(kAll, lane == 4) * 2 + __all_sync(kAll, lane < 32));
  out[224] = float(__reduce_add_sync(kAll, unsigned(lane)));
  out[256] = float(__reduce_min_sync(kAll, lane - 7));
  out[288] = float(__popc(__match_any_sync(kAll, lane % 4)));
  out[320] = float(__syncthreads_count(lane % 3 == 0));
  out[352] = float(__shfl_sync(kAll, static_cast<long long>(lane) << 33, 1) >> 33);
}

// One product: A [16, 16] and B [16, 8] f16 from a's bytes (256 + 128 halves), D [16, 8] f32 to b, added to what b has.
template <typename Type>
__device__ void multiply(const TestParams& p) {
  char* s = ptx::shared_memory();
  const auto* from = reinterpret_cast<const char*>(p.a);
  const unsigned lane = threadIdx.x, row = lane / 4, column = lane % 4 * 2;
  for (unsigned i = lane; i < 48; i += 32) ptx::cp_async_16(s + i * 16, from + i * 16);
  ptx::cp_async_commit();
  ptx::cp_async_wait<0>();
  __syncthreads();
  std::uint32_t a[4], b[2];
  ptx::ldmatrix_x4(a, s + lane % 16 * 32 + lane / 16 * 16);
  ptx::ldmatrix_x2_trans(b, s + 512 + lane % 16 * 16);
  float d[4] = {p.b[row * 8 + column], p.b[row * 8 + column + 1], p.b[(row + 8) * 8 + column],
                p.b[(row + 8) * 8 + column + 1]};
  ptx::mma_m16n8k16(Type{}, d, a, b);
  p.b[row * 8 + column] = d[0];
  p.b[row * 8 + column + 1] = d[1];
  p.b[(row + 8) * 8 + column] = d[2];
  p.b[(row + 8) * 8 + column + 1] = d[3];
}
SPLITWISER_KERNEL(multiply_f16, TestParams, 32, 1) { multiply<ptx::F16>(params); }
SPLITWISER_KERNEL(multiply_bf16, TestParams, 32, 1) { multiply<ptx::BF16>(params); }

// Device arithmetic where host and device differ; results to b.
SPLITWISER_KERNEL(arithmetic, TestParams, 1, 1) {
  const float nan = __uint_as_float(0x7fc00000u), huge = 3e10f, zero = params.a[0];
  float* out = params.b;
  out[0] = fmaxf(nan, 2.0f);
  out[1] = fminf(3.0f, nan);
  out[2] = 1.0f / fmaxf(-zero, zero);
  out[3] = 1.0f / fminf(zero, -zero);
  out[4] = float(__float2int_rz(huge));
  out[5] = float(__float2int_rn(nan));
  out[6] = float(__float2uint_rz(-1.0f));
  out[7] = ptx::exp2_approx(0.0f);
  out[8] = ptx::exp2_approx(__uint_as_float(0xff800000u));
  out[9] = ptx::exp2_approx(-127.0f);
  out[10] = ptx::exp2_approx(3.0f);
  out[11] = float(__clz(1)) + float(__ffs(8)) + float(__popc(255u));
  out[12] = __fmaf_rn(1.0f + 0x1p-23f, 1.0f + 0x1p-23f, -1.0f);
}
