// Pages of the cache: copied in their pool, gathered to pinned memory and scattered from it.
#include "pages.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <random>
#include <vector>

#include "check.hpp"
#include "harness.hpp"

namespace splitwiser {
namespace {

using namespace cuda_test;
using Bytes = std::vector<std::byte>;

TEST("the first tokens of pages are copied in every layer, and no more") {
  constexpr std::int64_t kLayers = 3, kPages = 7, kHeads = 4, kPageSize = 16, kRow = 160;
  constexpr std::int64_t kHead = kPageSize * kRow, kPage = kHeads * kHead, kLayer = kPages * kPage;
  Bytes want(std::size_t(kLayers * kLayer));
  std::mt19937 random(1);
  for (std::byte& byte : want) byte = std::byte(random());
  const auto pool = upload(want);
  const std::vector<PageCopyItem> items{{0, 3, 16}, {1, 4, 1}, {2, 6, 9}};
  const auto items_at = upload(items);
  const PagePlace place{pool.data(), kLayer, kPage, kHead};
  const PageCopyParams params{place, place, items_at.data(), kRow, std::int32_t(items.size()), kLayers, kHeads};
  launch(plan_page_copy(params, shape(2)), params);
  for (const PageCopyItem& item : items) {
    for (std::int64_t run = 0; run < kLayers * kHeads; run++) {
      const std::int64_t base = run / kHeads * kLayer + run % kHeads * kHead;
      std::copy_n(want.begin() + base + item.from * kPage, item.tokens * kRow, want.begin() + base + item.to * kPage);
    }
  }
  CHECK(pool.download() == want);
}

TEST("pages go to pinned memory, one run of bytes each, and come back to other pages") {
  constexpr std::int64_t kLayers = 2, kPages = 5, kHeads = 6, kPageSize = 16, kRow = 128;
  constexpr std::int64_t kHead = kPageSize * kRow, kPage = kHeads * kHead, kLayer = kPages * kPage;
  Bytes before(std::size_t(kLayers * kLayer));
  std::mt19937 random(2);
  for (std::byte& byte : before) byte = std::byte(random());
  const auto pool = upload(before);
  constexpr std::size_t kAway = 3;
  const cuda::PinnedMemory away(gpu().device(), kAway * kLayers * kPage);
  std::memset(away.data(), 0x5a, away.bytes());
  const PagePlace here{pool.data(), kLayer, kPage, kHead}, there{away.data(), kPage, kLayers * kPage, kHead};
  const auto move = [&](const PagePlace& from, const PagePlace& to, const std::vector<PageCopyItem>& items) {
    const auto items_at = upload(items);
    const PageCopyParams params{from, to, items_at.data(), kRow, std::int32_t(items.size()), kLayers, kHeads};
    launch(plan_page_copy(params, shape(2)), params);
    synchronize();
  };
  // Pages 3 and 1, the latter with 5 tokens; place 2 is not asked for.
  move(here, there, {{3, 0, kPageSize}, {1, 1, 5}});
  const auto at = [](std::int64_t page, std::int64_t layer, std::int64_t head) { return layer * kLayer + page * kPage + head * kHead; };
  Bytes after = before;
  for (std::int64_t layer = 0; layer < kLayers; layer++) {
    for (std::int64_t head = 0; head < kHeads; head++) {
      const std::byte* whole = away.data() + layer * kPage + head * kHead;
      const std::byte* part = whole + kLayers * kPage;
      CHECK(std::memcmp(whole, before.data() + at(3, layer, head), kHead) == 0);
      CHECK(std::memcmp(part, before.data() + at(1, layer, head), 5 * kRow) == 0);
      CHECK(part[5 * kRow] == std::byte{0x5a} && part[kHead - 1] == std::byte{0x5a});
      std::copy_n(before.begin() + at(3, layer, head), kHead, after.begin() + at(4, layer, head));
      std::copy_n(before.begin() + at(1, layer, head), 5 * kRow, after.begin() + at(0, layer, head));
    }
  }
  for (std::size_t i = 2 * kLayers * kPage; i < away.bytes(); i += 64) CHECK(away.data()[i] == std::byte{0x5a});
  move(there, here, {{0, 4, kPageSize}, {1, 0, 5}});
  CHECK(pool.download() == after);
}

}  // namespace
}  // namespace splitwiser
