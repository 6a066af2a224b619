// One small kernel for each function of kernels/ptx.cuh: run as nvcc's PTX under ptxrun and, compiled by g++, on the simulated device's
// SIMT layer; ptx_functions.py compares the two. The names are function_variant.
#include "ptx.cuh"

namespace splitwiser {

struct FunctionParams {
  const void* in;
  const void* more;
  void* out;
  std::int32_t count;
};

namespace {

__device__ int thread() { return int(blockIdx.x * blockDim.x + threadIdx.x); }

// Lane l's two words of `in` and `more`, and its four of `out`.
template <typename T>
__device__ const T* in_of(const FunctionParams& params) {
  return static_cast<const T*>(params.in);
}
template <typename T>
__device__ T* out_of(const FunctionParams& params) {
  return static_cast<T*>(params.out);
}

// One warp: in is 32 rows of 16 bytes. Row addresses are permuted, so that who names which row is seen.
template <int Matrices, bool Transposed>
__device__ void ldmatrix_of(const FunctionParams& params) {
  uint4* rows = reinterpret_cast<uint4*>(ptx::shared_memory());
  const int lane = int(threadIdx.x);
  rows[lane] = in_of<uint4>(params)[lane];
  __syncwarp();
  const void* row = rows + (lane * 13 + 5) % 32;
  if constexpr (Matrices == 4) {
    std::uint32_t words[4];
    if constexpr (Transposed) ptx::ldmatrix_x4_trans(words, row);
    else ptx::ldmatrix_x4(words, row);
    for (int i = 0; i < 4; ++i) out_of<std::uint32_t>(params)[lane * 4 + i] = words[i];
  } else {
    std::uint32_t words[2];
    if constexpr (Transposed) ptx::ldmatrix_x2_trans(words, row);
    else ptx::ldmatrix_x2(words, row);
    for (int i = 0; i < 2; ++i) out_of<std::uint32_t>(params)[lane * 2 + i] = words[i];
  }
}

// One warp: in holds each lane's a and b, more its d.
template <typename Type>
__device__ void mma_of(const FunctionParams& params) {
  const int lane = int(threadIdx.x);
  std::uint32_t a[4], b[2];
  float d[4];
  for (int i = 0; i < 4; ++i) a[i] = in_of<std::uint32_t>(params)[lane * 6 + i];
  for (int i = 0; i < 2; ++i) b[i] = in_of<std::uint32_t>(params)[lane * 6 + 4 + i];
  for (int i = 0; i < 4; ++i) d[i] = static_cast<const float*>(params.more)[lane * 4 + i];
  ptx::mma_m16n8k16(Type{}, d, a, b);
  for (int i = 0; i < 4; ++i) out_of<float>(params)[lane * 4 + i] = d[i];
}

// Copies 16 bytes a thread through shared memory; how many of them are real is in `more`.
template <int Bytes>
__device__ void copy_of(const FunctionParams& params) {
  const int at = int(threadIdx.x) * Bytes;
  char* to = ptx::shared_memory() + at;
  const int valid = static_cast<const std::int32_t*>(params.more)[threadIdx.x];
  if constexpr (Bytes == 16) ptx::cp_async_16(to, in_of<char>(params) + at, valid);
  else ptx::cp_async_4(to, in_of<char>(params) + at, valid);
  ptx::cp_async_commit();
  ptx::cp_async_wait<0>();
  for (int i = 0; i < Bytes; ++i) out_of<char>(params)[at + i] = to[i];
}

}  // namespace

SPLITWISER_KERNEL(shared_memory_address, FunctionParams, 128, 1) {
  char* memory = ptx::shared_memory();
  out_of<std::uint32_t>(params)[threadIdx.x] = ptx::shared_address(memory + 8 * threadIdx.x) - ptx::shared_address(memory);
  if (threadIdx.x == 0) out_of<std::uint32_t>(params)[blockDim.x] = ptx::shared_address(memory) % 128;
}
SPLITWISER_KERNEL(cp_async_16_bytes, FunctionParams, 128, 1) { copy_of<16>(params); }
SPLITWISER_KERNEL(cp_async_4_bytes, FunctionParams, 128, 1) { copy_of<4>(params); }

// Four groups of one copy each; with at most one of them pending, the first three are there.
SPLITWISER_KERNEL(cp_async_wait_for_all_but_one, FunctionParams, 32, 1) {
  uint4* to = reinterpret_cast<uint4*>(ptx::shared_memory()) + threadIdx.x * 4;
  for (int i = 0; i < 4; ++i) {
    ptx::cp_async_16(to + i, in_of<uint4>(params) + threadIdx.x * 4 + i);
    ptx::cp_async_commit();
  }
  ptx::cp_async_wait<1>();
  for (int i = 0; i < 3; ++i) out_of<uint4>(params)[threadIdx.x * 4 + i] = to[i];
  ptx::cp_async_wait<0>();
  out_of<uint4>(params)[threadIdx.x * 4 + 3] = to[3];
}

SPLITWISER_KERNEL(ldmatrix_x4_plain, FunctionParams, 32, 1) { ldmatrix_of<4, false>(params); }
SPLITWISER_KERNEL(ldmatrix_x4_trans, FunctionParams, 32, 1) { ldmatrix_of<4, true>(params); }
SPLITWISER_KERNEL(ldmatrix_x2_plain, FunctionParams, 32, 1) { ldmatrix_of<2, false>(params); }
SPLITWISER_KERNEL(ldmatrix_x2_trans, FunctionParams, 32, 1) { ldmatrix_of<2, true>(params); }
SPLITWISER_KERNEL(mma_m16n8k16_f16, FunctionParams, 32, 1) { mma_of<ptx::F16>(params); }
SPLITWISER_KERNEL(mma_m16n8k16_bf16, FunctionParams, 32, 1) { mma_of<ptx::BF16>(params); }

SPLITWISER_KERNEL(widen_f16, FunctionParams, 256, 1) {
  if (thread() < params.count) out_of<float>(params)[thread()] = ptx::widen(ptx::F16{}, in_of<std::uint16_t>(params)[thread()]);
}
SPLITWISER_KERNEL(widen_bf16, FunctionParams, 256, 1) {
  if (thread() < params.count) out_of<float>(params)[thread()] = ptx::widen(ptx::BF16{}, in_of<std::uint16_t>(params)[thread()]);
}
SPLITWISER_KERNEL(narrow_f16, FunctionParams, 256, 1) {
  if (thread() < params.count) out_of<std::uint16_t>(params)[thread()] = ptx::narrow(ptx::F16{}, in_of<float>(params)[thread()]);
}
SPLITWISER_KERNEL(narrow_bf16, FunctionParams, 256, 1) {
  if (thread() < params.count) out_of<std::uint16_t>(params)[thread()] = ptx::narrow(ptx::BF16{}, in_of<float>(params)[thread()]);
}
SPLITWISER_KERNEL(narrow_pair_f16, FunctionParams, 256, 1) {
  const float* pair = in_of<float>(params) + 2 * thread();
  if (thread() < params.count) out_of<std::uint32_t>(params)[thread()] = ptx::narrow_pair(ptx::F16{}, pair[0], pair[1]);
}
SPLITWISER_KERNEL(narrow_pair_bf16, FunctionParams, 256, 1) {
  const float* pair = in_of<float>(params) + 2 * thread();
  if (thread() < params.count) out_of<std::uint32_t>(params)[thread()] = ptx::narrow_pair(ptx::BF16{}, pair[0], pair[1]);
}
SPLITWISER_KERNEL(exp2_approx_values, FunctionParams, 256, 1) {
  if (thread() < params.count) out_of<float>(params)[thread()] = ptx::exp2_approx(in_of<float>(params)[thread()]);
}

SPLITWISER_KERNEL(load_nc_16_values, FunctionParams, 64, 1) {
  out_of<uint4>(params)[thread()] = ptx::load_nc_16(in_of<uint4>(params) + thread());
}
SPLITWISER_KERNEL(load_cg_values, FunctionParams, 64, 1) {
  out_of<float>(params)[thread()] = ptx::load_cg(in_of<float>(params) + thread());
}
SPLITWISER_KERNEL(load_cg_16_values, FunctionParams, 64, 1) {
  out_of<float4>(params)[thread()] = ptx::load_cg_16(in_of<float>(params) + 4 * thread());
}
// Every thread adds its number + 1 to one counter and keeps the old value; threads of several blocks.
SPLITWISER_KERNEL(add_acq_rel_counter, FunctionParams, 64, 1) {
  std::uint32_t* out = out_of<std::uint32_t>(params);
  out[1 + thread()] = ptx::add_acq_rel(out, std::uint32_t(thread()) + 1);
}

}  // namespace splitwiser
