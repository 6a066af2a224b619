// What families use to bring tensors to the device: counts, reports progress, gives up when asked to.
#pragma once

#include <initializer_list>
#include <string>

#include "model/weights.hpp"
#include "support/error.hpp"

namespace splitwiser {

class Loader {
 public:
  Loader(const WeightLoading& loading, DecoderWeights& weights) : loading_(loading), weights_(weights) {}

  [[nodiscard]] bool has(const std::string& name) const { return loading_.tensors.has(name); }

  [[nodiscard]] std::unique_ptr<Matrix> matrix(const std::string& name, std::int64_t rows, std::int64_t cols) {
    return stacked({name}, rows, cols);
  }

  // Matrices of equal shape, stacked by rows into one: one GEMM instead of several.
  [[nodiscard]] std::unique_ptr<Matrix> stacked(std::initializer_list<std::string> names, std::int64_t rows,
                                                std::int64_t cols) {
    std::vector<HostMatrix> sources;
    for (const std::string& name : names) sources.push_back(loading_.tensors.matrix(name, rows, cols));
    auto packed = loading_.backend.pack(sources, loading_.storage);
    account(sources, packed->bytes());
    return packed;
  }

  [[nodiscard]] std::unique_ptr<Vector> vector(std::initializer_list<std::string> names, std::int64_t size) {
    std::vector<HostMatrix> sources;
    for (const std::string& name : names) sources.push_back(loading_.tensors.vector(name, size));
    auto uploaded = loading_.backend.upload(sources);
    account(sources, std::size_t(uploaded->size()) * sizeof(float));
    return uploaded;
  }

  [[nodiscard]] Norm norm(const std::string& prefix, std::int64_t size) {
    return Norm{vector({prefix + ".weight"}, size), vector({prefix + ".bias"}, size)};
  }

 private:
  void account(const std::vector<HostMatrix>& sources, std::size_t device_bytes) {
    for (const HostMatrix& source : sources) {
      weights_.parameters += source.rows * source.cols;
      done_ += std::uint64_t(source.rows) * std::uint64_t(source.cols) * bytes_of(source.dtype);
    }
    weights_.bytes += device_bytes;
    if (loading_.progress && !loading_.progress(done_, loading_.tensors.total_bytes())) {
      throw Error(ErrorCode::aborted, "loading was aborted");
    }
  }

  const WeightLoading& loading_;
  DecoderWeights& weights_;
  std::uint64_t done_ = 0;
};

}  // namespace splitwiser
