#include "simt/machine.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "simt/check.hpp"
#include "simt/machine_impl.hpp"
#include "simt/text.hpp"

namespace simt {

Machine::Impl::Impl(const Options& with)
    : options(with), limits(limits_of(with.arch)), findings(with.max_findings), random(with.seed) {
  options.sms = std::clamp(options.sms, 1, kMaxSms);
  options.workers = checked() ? 1 : std::clamp(options.workers, 1, 64);
  options.live_blocks = std::max(options.live_blocks, 1);
  sms.resize(static_cast<std::size_t>(options.sms));
  std::iota(mma_order.begin(), mma_order.end(), std::uint8_t{0});
  Random order(options.mma_seed != 0 ? options.mma_seed : options.seed);
  for (std::uint32_t i = 16; i > 0; --i) std::swap(mma_order[i], mma_order[order.below(i + 1)]);
  if (checked()) checker = new_checker(*this);
  for (int i = 0; i < options.workers; ++i) {
    workers.push_back(std::make_unique<Worker>(*this, i, options.seed * 64 + static_cast<std::uint64_t>(i) + 1));
    Worker* worker = workers.back().get();
    worker->thread_ = std::thread([worker] { worker->run(); });
  }
}

Machine::Impl::~Impl() {
  {
    const std::lock_guard lock(mutex);
    stopping = true;
    alert();
    for (const auto& grid : grids) kill(*grid, Status::aborted, "the machine ended");
  }
  work.notify_all();
  workers.clear();
  if (checker != nullptr) delete_checker(checker);
}

// ---- placement ----------------------------------------------------------------------------------

void Machine::Impl::place(Grid& grid) {
  const auto fits = [&](const Sm& sm) {
    return sm.threads + grid.threads <= limits.threads && sm.blocks < limits.blocks &&
           sm.registers + grid.registers <= limits.registers && sm.shared + grid.shared <= limits.shared_bytes;
  };
  const auto count = static_cast<std::uint32_t>(sms.size());
  while (grid.placed < grid.launch.grid && !grid.killed) {
    const std::uint32_t first = random.below(count);
    std::uint32_t tried = 0;
    for (; tried < count; ++tried) {
      const std::uint32_t index = (first + tried) % count;
      Sm& sm = sms[index];
      if (!grid.launch.sms[index] || !fits(sm)) continue;
      sm.threads += grid.threads;
      sm.registers += grid.registers;
      sm.shared += grid.shared;
      ++sm.blocks;
      const auto block = static_cast<std::uint32_t>(
          (static_cast<std::uint64_t>(grid.placed) * grid.stride + grid.offset) % grid.launch.grid);
      grid.resident.push_back({block, static_cast<int>(index)});
      ++grid.placed;
      break;
    }
    if (tried == count) return;
  }
}

void Machine::Impl::alert() {
  for (const auto& worker : workers) worker->attention = true;
}

void Machine::Impl::place() {
  for (const auto& grid : grids) place(*grid);
}

void Machine::Impl::release(Grid& grid, int sm) {
  Sm& at = sms[static_cast<std::size_t>(sm)];
  at.threads -= grid.threads;
  at.registers -= grid.registers;
  at.shared -= grid.shared;
  --at.blocks;
  place();
}

void Machine::Impl::kill(Grid& grid, Status status, std::string message) {
  if (grid.killed) return;
  grid.status = status;
  grid.message = std::move(message);
  grid.killed = true;
  alert();
  while (!grid.resident.empty()) {
    const Resident resident = grid.resident.back();
    grid.resident.pop_back();
    release(grid, resident.sm);
  }
}

void Machine::Impl::fail(Thread& self, Status status, std::string message) {
  Block& block = *self.warp->block;
  Worker& worker = *block.worker;
  {
    const std::lock_guard lock(mutex);
    kill(*block.grid, status, std::move(message));
  }
  work.notify_all();
  worker.leave();
}

RawPlace place_of(const Thread& thread, const void* site) {
  const Block& block = *thread.warp->block;
  return {block.grid->launch.kernel->name, block.grid->token, block.index, thread.index, site};
}

// ---- grids --------------------------------------------------------------------------------------

Token Machine::Impl::start(GridLaunch launch) {
  auto grid = std::make_shared<Grid>();
  grid->token = next_token.fetch_add(1);
  if (launch.sms.none()) {
    for (int i = 0; i < options.sms; ++i) launch.sms.set(static_cast<std::size_t>(i));
  }
  std::string wrong;
  if (launch.kernel == nullptr) wrong = "no kernel";
  else if (launch.params.size() != launch.kernel->params_bytes) wrong = "the parameters' size is not the kernel's";
  else if (launch.grid == 0 || launch.block == 0) wrong = "an empty grid or block";
  else if (launch.block > launch.kernel->threads) wrong = "the block is larger than __launch_bounds__";
  else if (occupancy(limits, static_cast<int>(launch.block), static_cast<int>(launch.registers),
                     static_cast<int>(launch.shared_bytes)) == 0) {
    wrong = "a block does not fit on an SM";
  } else {
    bool any = false;
    for (int i = 0; i < options.sms; ++i) any = any || launch.sms[static_cast<std::size_t>(i)];
    if (!any) wrong = "no SM of its set exists";
  }
  if (!wrong.empty()) {
    if (launch.done) launch.done({grid->token, Status::aborted, wrong, {}, 0, 0, {}});
    return grid->token;
  }
  grid->params = std::make_unique<std::byte[]>(launch.params.size() + 1);
  std::memcpy(grid->params.get(), launch.params.data(), launch.params.size());
  const int warps = static_cast<int>((launch.block + 31) / 32);
  grid->threads = warps * 32;
  grid->registers = warps * ((static_cast<int>(launch.registers) * 32 + 255) / 256 * 256);
  grid->shared = (static_cast<int>(launch.shared_bytes) + limits.shared_bytes_reserved + 127) / 128 * 128;
  grid->counters.launches = 1;
  grid->launch = std::move(launch);
  const Token token = grid->token;
  {
    const std::lock_guard lock(mutex);
    const std::uint32_t blocks = grid->launch.grid;
    grid->offset = random.below(blocks);
    do grid->stride = 1 + random.below(blocks);
    while (std::gcd(grid->stride, blocks) != 1);
    if (checker != nullptr) check_grid_starts(*this, *grid);
    const auto after = std::ranges::upper_bound(grids, grid->launch.priority, {},
                                                [](const auto& other) { return other->launch.priority; });
    grids.insert(after, grid);
    place();
    alert();
  }
  work.notify_all();
  return token;
}

// ---- the face -----------------------------------------------------------------------------------

Machine::Machine(const Options& options) : impl_(std::make_unique<Impl>(options)) {}
Machine::~Machine() = default;

const Options& Machine::options() const { return impl_->options; }
SmLimits Machine::limits() const { return impl_->limits; }
std::uint64_t Machine::tick() const { return impl_->ticks.load(); }
Token Machine::start(GridLaunch launch) { return impl_->start(std::move(launch)); }

void Machine::wait(Token token) {
  std::unique_lock lock(impl_->mutex);
  impl_->finished.wait(lock, [&] {
    return std::ranges::none_of(impl_->grids, [&](const auto& grid) { return grid->token == token; }) &&
           std::ranges::find(impl_->calling, token) == impl_->calling.end();
  });
}

void Machine::abort() {
  {
    const std::lock_guard lock(impl_->mutex);
    for (const auto& grid : impl_->grids) impl_->kill(*grid, Status::aborted, "the device is lost");
  }
  impl_->work.notify_all();
}

std::vector<Finding> Machine::findings() const { return impl_->findings.list(); }
std::uint64_t Machine::finding_count() const { return impl_->findings.count(); }
void Machine::clear_findings() { impl_->findings.clear(); }

Counters Machine::counters() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->totals;
}
std::vector<std::pair<std::string, Counters>> Machine::counters_by_kernel() const {
  const std::lock_guard lock(impl_->mutex);
  return {impl_->by_kernel.begin(), impl_->by_kernel.end()};
}
void Machine::clear_counters() {
  const std::lock_guard lock(impl_->mutex);
  impl_->totals = {};
  impl_->by_kernel.clear();
}

}  // namespace simt
