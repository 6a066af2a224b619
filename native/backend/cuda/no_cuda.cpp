// In place of the CUDA backend where the program is built without the toolkit's cuda.h.
#include "backend/cuda/cuda_backend.hpp"
#include "support/error.hpp"

namespace splitwiser {
std::unique_ptr<Backend> make_cuda_backend(const CudaOptions&) { throw Error(ErrorCode::device_unavailable, kNoKernels); }

std::vector<CudaDevice> describe_cuda() {
  CudaDevice none;
  none.reason = kNoKernels;
  return {none};
}

}  // namespace splitwiser
