// In place of the CUDA backend where the program is built without the toolkit's cuda.h.
#include "backend/cuda/cuda_backend.hpp"
#include "support/error.hpp"

namespace splitwiser {
namespace {

constexpr const char* kReason =
    "this build has no CUDA kernels: nvcc was not found when it was built; install the CUDA toolkit 13 and build again";

}  // namespace

std::unique_ptr<Backend> make_cuda_backend(const CudaOptions&) { throw Error(ErrorCode::device_unavailable, kReason); }

std::vector<CudaDevice> describe_cuda() {
  CudaDevice none;
  none.reason = kReason;
  return {none};
}

}  // namespace splitwiser
