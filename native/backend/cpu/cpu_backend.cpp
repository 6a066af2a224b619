#include "backend/cpu/cpu_backend.hpp"

#include <array>

#include "backend/cpu/isa.hpp"
#include "backend/cpu/ops.hpp"
#include "backend/cpu/storage.hpp"
#include "backend/cpu/team.hpp"
#include "platform/affinity.hpp"
#include "platform/memory.hpp"
#include "support/error.hpp"

namespace splitwiser {
namespace cpu {
namespace {

constexpr int kMaxThreads = 1024;

// Ops run on the issuing thread and have returned when they are done.
class DoneEvent final : public Event {
 public:
  [[nodiscard]] bool done() const override { return true; }
};

class CpuLane final : public Lane {
 public:
  CpuLane(Team& team, Phase phase, const CpuKernels& kernels)
      : team_(team), phase_(phase), ops_(team, phase, kernels), done_(std::make_shared<DoneEvent>()) {}
  [[nodiscard]] Ops& ops() override { return ops_; }
  void begin_step() override { team_.begin_step(phase_); }
  void end_step() override { team_.end_step(phase_); }
  void yield_point() override { team_.yield_point(phase_); }
  [[nodiscard]] std::shared_ptr<Event> record() override { return done_; }
  void wait(const std::shared_ptr<Event>&) override {}
  void synchronize(const Event&) override {}
  [[nodiscard]] LaneInfo info() const override { return team_.info(phase_); }

 private:
  Team& team_;
  Phase phase_;
  CpuOps ops_;
  std::shared_ptr<Event> done_;
};

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(int threads)
      : kernels_(kernels_of(chosen_isa())),
        team_(threads),
        prefill_(team_, Phase::prefill, kernels_),
        decode_(team_, Phase::decode, kernels_) {}

  [[nodiscard]] std::string name() const override { return processor_name(); }
  [[nodiscard]] DType activation_dtype() const override { return DType::f32; }
  [[nodiscard]] std::unique_ptr<Matrix> pack(std::span<const HostMatrix> stacked, DType storage) override {
    return std::make_unique<CpuMatrix>(stacked, storage, team_.threads());
  }
  [[nodiscard]] std::unique_ptr<Vector> upload(std::span<const HostMatrix> concatenated) override {
    return std::make_unique<CpuVector>(concatenated);
  }
  [[nodiscard]] std::unique_ptr<Buffer> allocate(std::size_t bytes) override {
    return std::make_unique<CpuBuffer>(bytes);
  }
  [[nodiscard]] std::unique_ptr<KvPool> make_kv_pool(const KvShape& shape) override {
    return std::make_unique<CpuKvPool>(shape);
  }
  [[nodiscard]] Lane& lane(Phase phase) override { return phase == Phase::prefill ? prefill_ : decode_; }
  Partition configure(const PartitionRequest& request) override { return team_.configure(request); }

 private:
  const CpuKernels& kernels_;
  Team team_;
  CpuLane prefill_;
  CpuLane decode_;
};

}  // namespace
}  // namespace cpu

std::unique_ptr<Backend> make_cpu_backend(const CpuOptions& options) {
  if (options.threads < 0 || options.threads > cpu::kMaxThreads) {
    throw Error(ErrorCode::invalid_option, "threads: expected 1 to " + std::to_string(cpu::kMaxThreads) +
                                               " (0: one for every core), got " + std::to_string(options.threads));
  }
  const int threads = options.threads != 0 ? options.threads : allowed_processors().usable_cores();
  return std::make_unique<cpu::CpuBackend>(threads);
}

CpuDevice describe_cpu() {
  CpuDevice device;
  device.name = cpu::processor_name();
  device.cores = allowed_processors().usable_cores();
  device.isa = cpu::name_of(cpu::chosen_isa());
  for (const cpu::Isa isa : cpu::runnable_isas()) device.isas.emplace_back(cpu::name_of(isa));
  const MemoryStatus memory = memory_status();
  device.memory_bytes = memory.total_bytes;
  device.available_bytes = memory.available_bytes;
  return device;
}

}  // namespace splitwiser
