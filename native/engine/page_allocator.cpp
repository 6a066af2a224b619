#include "engine/page_allocator.hpp"

#include "support/error.hpp"

namespace splitwiser {

PageAllocator::PageAllocator(std::int64_t pages) : references_(std::size_t(pages), 0), free_(std::size_t(pages)) {
  for (std::size_t i = 0; i < free_.size(); i++) free_[i] = std::int32_t(free_.size() - 1 - i);
}

bool PageAllocator::reserve(std::int64_t pages) {
  if (pages > available()) return false;
  reserved_ += pages;
  return true;
}

void PageAllocator::unreserve(std::int64_t pages) {
  if (pages > reserved_) throw Error(ErrorCode::internal, "more pages given back than were reserved");
  reserved_ -= pages;
}

std::int32_t PageAllocator::take_reserved() {
  if (reserved_ == 0 || free_.empty()) throw Error(ErrorCode::internal, "a page was taken without a reservation");
  reserved_--;
  const std::int32_t page = free_.back();
  free_.pop_back();
  references_[std::size_t(page)] = 1;
  return page;
}

void PageAllocator::share(std::int32_t page) { references_[std::size_t(page)]++; }

void PageAllocator::release(std::int32_t page) {
  std::int32_t& references = references_[std::size_t(page)];
  if (references <= 0) throw Error(ErrorCode::internal, "a page was released twice");
  if (--references == 0) free_.push_back(page);
}

}  // namespace splitwiser
