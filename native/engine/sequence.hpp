// A sequence: tokens, how many of them are in the KV cache, and the pages that hold them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "backend/backend.hpp"
#include "engine/page_allocator.hpp"

namespace splitwiser {

struct Sequence {
  std::uint64_t handle = 0;           // of a held sequence; 0: it lives with its request
  std::uint64_t request = 0;          // the request that works on it; 0: none
  bool release_when_idle = false;     // released while a request worked on it
  std::vector<std::int32_t> tokens;
  std::int64_t computed = 0;          // tokens [0, computed) are in the cache
  std::vector<std::int32_t> pages;    // hold positions 0 .. computed - 1
  // The last write of its keys and values; a step on another lane waits for it before it reads them.
  std::shared_ptr<Event> written;
  std::optional<Phase> written_by;

  [[nodiscard]] std::int64_t pending() const { return std::int64_t(tokens.size()) - computed; }
};

[[nodiscard]] inline std::int64_t pages_for(std::int64_t tokens, int page_size) {
  return (tokens + page_size - 1) / page_size;
}

// Gives back pages past the computed tokens: those that an interrupted step took, or that were truncated.
inline void trim_pages(Sequence& sequence, int page_size, PageAllocator& allocator) {
  const auto kept = std::size_t(pages_for(sequence.computed, page_size));
  while (sequence.pages.size() > kept) {
    allocator.release(sequence.pages.back());
    sequence.pages.pop_back();
  }
}

// Forgets tokens from `length` on.
inline void truncate(Sequence& sequence, std::int64_t length, int page_size, PageAllocator& allocator) {
  sequence.tokens.resize(std::size_t(length));
  if (sequence.computed > length) sequence.computed = length;
  trim_pages(sequence, page_size, allocator);
}

// A second sequence over the same pages; whoever writes into a shared page copies it first.
[[nodiscard]] inline std::shared_ptr<Sequence> fork(const Sequence& parent, PageAllocator& allocator) {
  auto child = std::make_shared<Sequence>();
  child->tokens = parent.tokens;
  child->computed = parent.computed;
  child->pages = parent.pages;
  child->written = parent.written;
  child->written_by = parent.written_by;
  for (const std::int32_t page : child->pages) allocator.share(page);
  return child;
}

inline void release_pages(Sequence& sequence, PageAllocator& allocator) {
  for (const std::int32_t page : sequence.pages) allocator.release(page);
  sequence.pages.clear();
  sequence.computed = 0;
}

}  // namespace splitwiser
