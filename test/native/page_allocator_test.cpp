#include "engine/page_allocator.hpp"

#include <set>

#include "check.hpp"

using namespace splitwiser;

TEST("all pages are free at first, each is handed out once") {
  PageAllocator allocator(5);
  CHECK_EQ(allocator.total(), 5);
  CHECK_EQ(allocator.free(), 5);
  CHECK(allocator.reserve(5));
  std::set<std::int32_t> pages;
  for (int i = 0; i < 5; i++) pages.insert(allocator.take_reserved());
  CHECK_EQ(pages.size(), 5);
  CHECK_EQ(*pages.begin(), 0);
  CHECK_EQ(*pages.rbegin(), 4);
  CHECK_EQ(allocator.free(), 0);
}

TEST("a reservation is a promise: what it holds is available to nobody else") {
  PageAllocator allocator(4);
  CHECK(allocator.reserve(3));
  CHECK_EQ(allocator.free(), 4);
  CHECK_EQ(allocator.available(), 1);
  CHECK(!allocator.reserve(2));
  CHECK_EQ(allocator.available(), 1);
  CHECK(allocator.reserve(1));
  CHECK(!allocator.reserve(1));
  CHECK(allocator.reserve(0));
  allocator.unreserve(4);
  CHECK_EQ(allocator.available(), 4);
}

TEST("a page taken is free no more and its reservation is used up") {
  PageAllocator allocator(2);
  CHECK(allocator.reserve(1));
  const std::int32_t page = allocator.take_reserved();
  CHECK_EQ(allocator.free(), 1);
  CHECK_EQ(allocator.available(), 1);
  CHECK_THROWS_CODE(allocator.take_reserved(), ErrorCode::internal);
  allocator.release(page);
  CHECK_EQ(allocator.free(), 2);
}

TEST("more cannot be given back than was reserved") {
  PageAllocator allocator(2);
  CHECK(allocator.reserve(1));
  CHECK_THROWS_CODE(allocator.unreserve(2), ErrorCode::internal);
  CHECK_EQ(allocator.available(), 1);
}

TEST("a shared page is free only when its last owner has released it") {
  PageAllocator allocator(1);
  CHECK(allocator.reserve(1));
  const std::int32_t page = allocator.take_reserved();
  CHECK(!allocator.shared(page));
  allocator.share(page);
  allocator.share(page);
  CHECK(allocator.shared(page));
  allocator.release(page);
  CHECK(allocator.shared(page));
  allocator.release(page);
  CHECK(!allocator.shared(page));
  CHECK_EQ(allocator.free(), 0);
  allocator.release(page);
  CHECK_EQ(allocator.free(), 1);
}

TEST("a page released twice is refused and not doubled") {
  PageAllocator allocator(3);
  CHECK(allocator.reserve(1));
  const std::int32_t page = allocator.take_reserved();
  allocator.release(page);
  CHECK_THROWS_CODE(allocator.release(page), ErrorCode::internal);
  CHECK_EQ(allocator.free(), 3);
  CHECK(allocator.reserve(3));
  std::set<std::int32_t> pages;
  for (int i = 0; i < 3; i++) pages.insert(allocator.take_reserved());
  CHECK_EQ(pages.size(), 3);
}

TEST("a page out of use starts with one owner again") {
  PageAllocator allocator(1);
  CHECK(allocator.reserve(1));
  const std::int32_t page = allocator.take_reserved();
  allocator.share(page);
  allocator.release(page);
  allocator.release(page);
  CHECK(allocator.reserve(1));
  CHECK_EQ(allocator.take_reserved(), page);
  CHECK(!allocator.shared(page));
}

TEST("an allocator without pages gives none") {
  PageAllocator allocator(0);
  CHECK_EQ(allocator.total(), 0);
  CHECK(!allocator.reserve(1));
  CHECK(allocator.reserve(0));
  CHECK_THROWS_CODE(allocator.take_reserved(), ErrorCode::internal);
}
