#include "executor.hpp"

#include <algorithm>
#include <cstring>
#include <thread>

#include "state.hpp"

namespace simdriver {
namespace {

constexpr int kThreads = 2;
constexpr std::uint64_t kHostChain = 1;  // chains of streams and graph nodes follow (State::next_id)

simt::GridLaunch launch_of(const Item& item) {
  const Operation& operation = item.operation;
  simt::GridLaunch launch;
  launch.kernel = operation.kernel->entry;
  launch.params = operation.parameters;
  launch.grid = operation.grid;
  launch.block = operation.block;
  launch.shared_bytes = operation.shared_bytes;
  launch.registers = std::uint32_t(operation.kernel->image.registers);
  launch.priority = item.priority;
  launch.chain = item.chain;
  launch.context = item.context->id;
  launch.sms = item.context->sms;
  launch.after = item.after;
  return launch;
}

// Tells the race detector of an access by a copy or a fill.
void watch(Item& item, const std::byte* at, bool write, const char* label) {
  simt::HostAccess access;
  access.base = at;
  access.bytes = item.operation.bytes;
  access.write = write;
  access.chain = item.chain;
  access.after = item.after;
  access.label = label;
  item.token = machine().host_access(access);
}

void fill(const Operation& operation) {
  const int width = operation.pattern_bytes;
  for (std::size_t i = 0; i < operation.bytes; i += std::size_t(width)) {
    std::memcpy(operation.to + i, &operation.pattern, std::size_t(width));
  }
}

bool touches(const std::byte* range, std::size_t range_bytes, const std::byte* begin, std::size_t bytes) {
  return range && range < begin + bytes && begin < range + range_bytes;
}

}  // namespace

Executor::Executor(std::mutex& mutex, std::uint64_t seed) : mutex_(mutex), random_(seed) {
  // Never joined: the executor lives as long as the process does, and the threads sleep when there is nothing to do.
  for (int i = 0; i < kThreads; ++i) std::thread([this] { run(); }).detach();
}

void Executor::submit(const std::shared_ptr<Item>& item, const std::vector<std::shared_ptr<Item>>& after) {
  item->enqueued = machine().tick();
  item->after.push_back(host_);
  for (const auto& before : after) {
    if (!before || before == item) continue;
    if (before->done) {
      item->after.push_back(before->token);
    } else {
      before->next.push_back(item);
      ++item->waits_for;
    }
  }
  pending_.push_back(item);
  if (item->waits_for == 0) {
    ready_.push_back(item);
    work_.notify_one();
  }
}

void Executor::wait(std::unique_lock<std::mutex>& lock, const std::shared_ptr<Item>& item) {
  if (!item) return;
  done_.wait(lock, [&] { return item->done; });
  observed(*item);
}

void Executor::wait_all(std::unique_lock<std::mutex>& lock) {
  const auto waiting = pending_;
  for (const auto& item : waiting) wait(lock, item);
}

void Executor::observed(const Item& item) {
  const simt::Token after[] = {host_, item.token};
  host_ = machine().join(kHostChain, after);
  state().memory.ordered_after(host_);
}

bool Executor::pending_on(const std::byte* begin, std::size_t bytes) const {
  return std::any_of(pending_.begin(), pending_.end(), [&](const auto& item) {
    const Operation& operation = item->operation;
    return touches(operation.to, operation.bytes, begin, bytes) || touches(operation.from, operation.bytes, begin, bytes);
  });
}

bool Executor::pending_in(const Context& context) const {
  return std::any_of(pending_.begin(), pending_.end(), [&](const auto& item) { return item->context.get() == &context; });
}

bool Executor::pending_kernel(const KernelObject& kernel) const {
  return std::any_of(pending_.begin(), pending_.end(), [&](const auto& item) { return item->operation.kernel.get() == &kernel; });
}

void Executor::drop_all() {
  dropping_ = true;
  done_.notify_all();
  work_.notify_all();
}

void Executor::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    work_.wait(lock, [&] { return !ready_.empty(); });
    const std::size_t drawn = std::size_t(random_() % ready_.size());
    const std::shared_ptr<Item> item = ready_[drawn];
    ready_[drawn] = ready_.back();
    ready_.pop_back();
    item->started = true;
    if (item->operation.kind == OperationKind::kernel && !dropping_) {
      simt::GridLaunch launch = launch_of(*item);
      lock.unlock();
      launch.done = [this, item](const simt::GridResult& result) {
        const std::lock_guard guard(mutex_);
        item->token = result.token;
        state().report.grid(*item, result);
        if (const CUresult error = error_of(result.status); error != CUDA_SUCCESS) {
          state().lose_device(error, item->operation.kernel->name + ": " + result.message);
        }
        finish(item);
      };
      machine().start(std::move(launch));
      lock.lock();
    } else {
      if (!dropping_) {
        lock.unlock();
        perform(*item);
        lock.lock();
      }
      finish(item);
    }
  }
}

void Executor::perform(Item& item) {
  const Operation& operation = item.operation;
  switch (operation.kind) {
    case OperationKind::copy:
      if (!operation.from_pageable) watch(item, operation.from, false, "copy");
      if (!operation.to_pageable) watch(item, operation.to, true, "copy");
      std::memmove(operation.to, operation.from, operation.bytes);
      break;
    case OperationKind::fill:
      watch(item, operation.to, true, "memset");
      fill(operation);
      break;
    case OperationKind::host: {
      const HostFunctionScope scope;
      item.token = machine().join(item.chain, item.after);
      operation.function(operation.data);
      break;
    }
    default: item.token = machine().join(item.chain, item.after); break;
  }
}

void Executor::finish(const std::shared_ptr<Item>& item) {
  item->done = true;
  item->done_ms = device_clock_ms();
  pending_.erase(std::find(pending_.begin(), pending_.end(), item));
  for (const auto& next : item->next) {
    next->after.push_back(item->token);
    if (--next->waits_for == 0) {
      ready_.push_back(next);
      work_.notify_one();
    }
  }
  item->next.clear();
  done_.notify_all();
}

}  // namespace simdriver
