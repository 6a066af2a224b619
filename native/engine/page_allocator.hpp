// Who owns which page of the KV pool. Pages are reference-counted: forks share them. A request reserves at
// admission all pages that it can ever need, so that a running request never waits for one (no preemption).
#pragma once

#include <cstdint>
#include <vector>

namespace splitwiser {

class PageAllocator {
 public:
  explicit PageAllocator(std::int64_t pages);

  [[nodiscard]] std::int64_t total() const { return std::int64_t(references_.size()); }
  [[nodiscard]] std::int64_t free() const { return std::int64_t(free_.size()); }
  // Free and promised to nobody.
  [[nodiscard]] std::int64_t available() const { return free() - reserved_; }

  [[nodiscard]] bool reserve(std::int64_t pages);
  void unreserve(std::int64_t pages);
  // A page out of a reservation, with one reference.
  [[nodiscard]] std::int32_t take_reserved();

  void share(std::int32_t page);
  [[nodiscard]] bool shared(std::int32_t page) const { return references_[std::size_t(page)] > 1; }
  // Drops a reference; the page is free when none is left.
  void release(std::int32_t page);

 private:
  std::vector<std::int32_t> references_;
  std::vector<std::int32_t> free_;
  std::int64_t reserved_ = 0;
};

}  // namespace splitwiser
