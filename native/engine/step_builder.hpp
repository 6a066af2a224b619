// Puts a step together: pages for its tokens, copies of shared pages, rows, and what is wanted of them.
#pragma once

#include "engine/step.hpp"

namespace splitwiser {

class StepBuilder {
 public:
  StepBuilder(Phase lane, std::uint64_t number, int page_size, PageAllocator& allocator)
      : page_size_(page_size), allocator_(allocator) {
    step_.lane = lane;
    step_.number = number;
  }

  [[nodiscard]] bool empty() const { return step_.segments.empty(); }
  // The next token of a running choice, behind those that its steps in flight are to draw.
  void add_decode(const std::shared_ptr<Request>& request, Choice& choice);
  // The next `tokens` tokens of a prompt.
  void add_prompt(const std::shared_ptr<Request>& request, std::int64_t tokens);

  [[nodiscard]] Step take() { return std::move(step_); }

 private:
  void add_segment(Segment segment);
  // Pages for the positions first .. first + tokens - 1, the first of them not shared.
  void provide_pages(Request& request, Sequence& sequence, std::int64_t first, std::int64_t tokens);
  void want(Output output);

  int page_size_;
  PageAllocator& allocator_;
  Step step_;
};

}  // namespace splitwiser
