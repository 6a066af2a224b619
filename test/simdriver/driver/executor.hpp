// The device's side of the queues. Work is a graph of items; an item may run as soon as the items that it comes after are
// done, and nothing but streams, events and graph edges makes one item come after another. Of the items that may run,
// the next is drawn at random by the seed. Kernels go to the machine (simt/) without waiting for their end; copies, fills
// and host functions run in the executor's own threads.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include <cuda.h>

#include "device.hpp"

namespace simdriver {

struct Context;
struct Event;
struct KernelObject;

enum class OperationKind { nothing, kernel, copy, fill, host, record, wait };

// What an item or a graph node does.
struct Operation {
  OperationKind kind = OperationKind::nothing;
  // kernel
  std::shared_ptr<KernelObject> kernel;
  unsigned grid = 0;
  unsigned block = 0;
  unsigned shared_bytes = 0;
  std::vector<std::byte> parameters;
  bool programmatic = false;  // may begin while the kernel before it runs; a permission that is not taken here
  // copy: `to` and `from`; fill: `to`
  std::byte* to = nullptr;
  const std::byte* from = nullptr;
  std::shared_ptr<std::vector<std::byte>> staged;  // owns `from` when the source was pageable
  bool from_pageable = false, to_pageable = false;  // memory that the machine does not know
  bool from_device = false, to_device = false;
  std::size_t bytes = 0;
  std::uint32_t pattern = 0;
  int pattern_bytes = 1;
  // host
  CUhostFn function = nullptr;
  void* data = nullptr;
  // record, wait: of a graph node
  std::shared_ptr<Event> event;
};

struct Item {
  Operation operation;
  std::shared_ptr<Context> context;
  std::uint64_t stream = 0;   // id
  int priority = 0;
  bool from_graph = false;
  bool started = false;
  bool done = false;
  double done_ms = 0;         // the device's clock
  std::uint64_t enqueued = 0; // tick of the machine
  // For the race detector: a chain's items are ordered, and this one comes after `after` besides.
  std::uint64_t chain = 0;
  std::vector<simt::Token> after;
  simt::Token token = 0;      // of this item, when it is done
  int waits_for = 0;
  std::vector<std::shared_ptr<Item>> next;
};

class Executor {
 public:
  Executor(std::mutex& mutex, std::uint64_t seed);

  // With the mutex held: enqueues `item` behind `after` (null and finished ones count for nothing but order).
  void submit(const std::shared_ptr<Item>& item, const std::vector<std::shared_ptr<Item>>& after);
  // Waits, giving the mutex up, until `item` is done. Everything enqueued later by any thread comes after it.
  void wait(std::unique_lock<std::mutex>& lock, const std::shared_ptr<Item>& item);
  void wait_all(std::unique_lock<std::mutex>& lock);
  // The host has seen that `item` is done.
  void observed(const Item& item);
  simt::Token host_token() const { return host_; }
  // Items that are enqueued and not done: all, those that copy or fill a range, those of a context
  // or a kernel.
  std::size_t pending() const { return pending_.size(); }
  bool pending_on(const std::byte* begin, std::size_t bytes) const;
  bool pending_in(const Context& context) const;
  bool pending_kernel(const KernelObject& kernel) const;
  // Drops what has not started: the device is lost.
  void drop_all();

 private:
  void run();
  void perform(Item& item);
  void finish(const std::shared_ptr<Item>& item);

  std::mutex& mutex_;
  std::condition_variable work_, done_;
  std::mt19937_64 random_;
  std::vector<std::shared_ptr<Item>> ready_, pending_;
  simt::Token host_ = 0;   // what the host knows to be done
  bool dropping_ = false;
};

}  // namespace simdriver
