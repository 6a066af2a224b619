// Which processors this process may use, and pinning a thread to one of them.
#pragma once

#include <memory>
#include <vector>

namespace splitwiser {

struct ProcessorSet {
  // Logical processors by the affinity mask: the first hardware thread of every physical core first,
  // then the siblings.
  std::vector<int> processors;
  int physical_cores = 1;  // distinct physical cores among them
  double quota = 0;        // processors' worth of time that the cgroup grants; 0: no limit

  // Cores that are worth a thread: physical cores, lowered to the quota (rounded up), at least 1.
  [[nodiscard]] int usable_cores() const;
};

[[nodiscard]] ProcessorSet allowed_processors();

// Pins the calling thread; false where the system refuses or cannot, which is not an error.
bool pin_this_thread(int processor) noexcept;

// Pins the calling thread for a scope and gives it back its old mask after.
class ScopedPin {
 public:
  explicit ScopedPin(int processor) noexcept;  // < 0: does nothing
  ~ScopedPin();
  ScopedPin(const ScopedPin&) = delete;
  ScopedPin& operator=(const ScopedPin&) = delete;

 private:
  struct Mask;
  std::unique_ptr<Mask> old_;
};

}  // namespace splitwiser
