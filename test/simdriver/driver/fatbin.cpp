#include "fatbin.hpp"

#include <cstring>

namespace simdriver {
namespace {

constexpr std::uint32_t kMagic = 0xBA55ED50;
constexpr std::uint64_t kLz4 = 0x2000;
constexpr std::uint64_t kZstd = 0x8000;

template <class T>
T read_at(const std::byte* from, std::size_t offset) {
  T value;
  std::memcpy(&value, from + offset, sizeof value);
  return value;
}

}  // namespace

bool decode_lz4(std::span<const std::byte> from, std::size_t size, std::vector<std::byte>& to) {
  to.clear();
  to.reserve(size);
  std::size_t at = 0;
  const auto next = [&](std::size_t& length) {  // a length is continued while bytes are 255
    for (;;) {
      if (at >= from.size()) return false;
      const auto byte = std::to_integer<std::size_t>(from[at++]);
      length += byte;
      if (byte != 255) return true;
    }
  };
  while (at < from.size()) {
    const auto token = std::to_integer<std::size_t>(from[at++]);
    std::size_t literals = token >> 4;
    if (literals == 15 && !next(literals)) return false;
    if (literals > from.size() - at || literals > size - to.size()) return false;
    to.insert(to.end(), from.begin() + std::ptrdiff_t(at), from.begin() + std::ptrdiff_t(at + literals));
    at += literals;
    if (at == from.size()) break;  // the last sequence has no match
    if (from.size() - at < 2) return false;
    const std::size_t distance = std::to_integer<std::size_t>(from[at]) | std::to_integer<std::size_t>(from[at + 1]) << 8;
    at += 2;
    std::size_t match = token & 15;
    if (match == 15 && !next(match)) return false;
    match += 4;
    if (distance == 0 || distance > to.size() || match > size - to.size()) return false;
    for (std::size_t i = 0; i < match; ++i) to.push_back(to[to.size() - distance]);
  }
  return to.size() == size;
}

bool read_fatbin(const void* image, std::vector<FatbinEntry>& to, std::string& error) {
  const auto* bytes = static_cast<const std::byte*>(image);
  if (read_at<std::uint32_t>(bytes, 0) != kMagic || read_at<std::uint16_t>(bytes, 4) != 1) {
    error = "expected a fatbin (magic 0xBA55ED50, version 1)";
    return false;
  }
  const std::size_t header = read_at<std::uint16_t>(bytes, 6);
  const std::size_t end = header + std::size_t(read_at<std::uint64_t>(bytes, 8));
  for (std::size_t at = header; at + 64 <= end;) {
    const std::byte* entry = bytes + at;
    const auto kind = read_at<std::uint16_t>(entry, 0);
    const std::size_t entry_header = read_at<std::uint32_t>(entry, 4);
    const std::size_t padded = std::size_t(read_at<std::uint64_t>(entry, 8));
    const std::size_t compressed = read_at<std::uint32_t>(entry, 0x10);
    const auto flags = read_at<std::uint64_t>(entry, 0x28);
    const std::size_t size = std::size_t(read_at<std::uint64_t>(entry, 0x38));
    if (entry_header < 64 || entry_header > end - at || padded > end - at - entry_header || compressed > padded) {
      error = "the fatbin is cut off or damaged";
      return false;
    }
    if (flags & kZstd) {
      error = "an entry of the fatbin is compressed with zstd: build it with -Xfatbin -compress-all --compress-mode=speed";
      return false;
    }
    if (kind == 1 || kind == 2) {
      FatbinEntry read;
      read.kind = kind == 1 ? FatbinEntry::Kind::ptx : FatbinEntry::Kind::elf;
      read.arch = int(read_at<std::uint32_t>(entry, 0x1c));
      const std::byte* data = entry + entry_header;
      if (!(flags & kLz4)) {
        read.data.assign(data, data + padded);
      } else if (!decode_lz4({data, compressed}, size, read.data)) {
        error = "an LZ4 block of the fatbin is damaged";
        return false;
      }
      to.push_back(std::move(read));
    }
    at += entry_header + padded;
  }
  if (to.empty()) error = "the fatbin holds neither PTX nor a cubin";
  return !to.empty();
}

const FatbinEntry* choose_entry(const std::vector<FatbinEntry>& entries, int arch) {
  const FatbinEntry* chosen = nullptr;
  for (const FatbinEntry& entry : entries) {
    if (entry.kind != FatbinEntry::Kind::elf || entry.arch / 10 != arch / 10 || entry.arch > arch) continue;
    if (!chosen || entry.arch > chosen->arch) chosen = &entry;
  }
  if (chosen) return chosen;
  for (const FatbinEntry& entry : entries) {
    if (entry.kind != FatbinEntry::Kind::ptx || entry.arch > arch) continue;
    if (!chosen || entry.arch > chosen->arch) chosen = &entry;
  }
  return chosen;
}

}  // namespace simdriver
