#include "backend/cuda/cuda_backend.hpp"

#include "backend/cuda/kernel_library.hpp"
#include "backend/cuda/lane.hpp"
#include "backend/cuda/partition.hpp"
#include "backend/cuda/storage.hpp"

namespace splitwiser {
namespace cuda {
namespace {

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(const CudaOptions& options)
      : storage_(options.storage),
        device_(std::make_shared<Device>(options.ordinal)),
        primary_(std::make_shared<Context>(device_)),
        kernels_(device_),
        store_(std::make_shared<WeightStore>(primary_)),
        prefill_(Phase::prefill, pair_, primary_, kernels_, store_->uploader),
        decode_(Phase::decode, pair_, primary_, kernels_, store_->uploader) {
    pair_.group_seconds = options.layer_group_ms * 1e-3;
    kernels_.load_in(*primary_);
    PartitionRequest request;
    request.kind = Partition::none;
    configure(request);
  }

  [[nodiscard]] std::string name() const override { return device_->name(); }
  [[nodiscard]] DType activation_dtype() const override { return storage_; }
  [[nodiscard]] std::unique_ptr<Matrix> pack(std::span<const HostMatrix> stacked, DType storage) override {
    if (storage != storage_) {
      throw Error(ErrorCode::internal, std::string("pack: weights are multiplied with activations of their own type, ") +
                                           name_of(storage_) + " here, got " + name_of(storage));
    }
    return std::make_unique<CudaMatrix>(store_, stacked, storage);
  }
  [[nodiscard]] std::unique_ptr<Vector> upload(std::span<const HostMatrix> concatenated) override {
    return std::make_unique<CudaVector>(store_, concatenated);
  }
  [[nodiscard]] std::unique_ptr<Buffer> allocate(std::size_t bytes) override {
    return std::make_unique<CudaBuffer>(device_, bytes);
  }
  [[nodiscard]] std::unique_ptr<KvPool> make_kv_pool(const KvShape& shape) override {
    auto pool = std::make_unique<CudaKvPool>(*store_, device_, shape);
    pair_.max_tokens = shape.pages * shape.page_size;
    pair_.page_size = shape.page_size;
    return pool;
  }
  [[nodiscard]] Lane& lane(Phase phase) override { return phase == Phase::prefill ? prefill_ : decode_; }

  Partition configure(const PartitionRequest& request) override {
    // A prepared split is taken by its number: nothing waits, nothing is made.
    const bool same_kind = configured_ && (request.kind ? *request.kind == pair_.partition.kind : chosen_by_chain_);
    if (same_kind) {
      if (pair_.partition.splits.empty()) return pair_.partition.kind;
      if (const auto split = pair_.partition.split_for(request.prefill_share.value_or(kHalf))) {
        pair_.partition.active = *split;
        return pair_.partition.kind;
      }
    }
    // Made before the old one goes, which stays where this throws.
    PartitionSet made = make_partition(primary_, kernels_, request);
    prefill_.reset();
    decode_.reset();
    pair_.partition = std::move(made);
    chosen_by_chain_ = !request.kind;
    configured_ = true;
    return pair_.partition.kind;
  }
  [[nodiscard]] std::vector<std::string> partition_notes() const override { return pair_.partition.notes; }
  // The device draws the next step's tokens itself (DecodeStep).
  [[nodiscard]] int steps_in_flight() const override { return 2; }

 private:
  static constexpr double kHalf = 0.5;

  DType storage_;
  std::shared_ptr<const Device> device_;
  std::shared_ptr<Context> primary_;
  KernelLibrary kernels_;
  std::shared_ptr<WeightStore> store_;
  LanePair pair_;
  CudaLane prefill_;
  CudaLane decode_;
  bool configured_ = false;
  bool chosen_by_chain_ = false;
};

}  // namespace
}  // namespace cuda

std::unique_ptr<Backend> make_cuda_backend(const CudaOptions& options) {
  return std::make_unique<cuda::CudaBackend>(options);
}

}  // namespace splitwiser
