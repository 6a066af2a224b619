// The container that nvcc --fatbin writes. It is not documented by NVIDIA; what is said here was worked out from files
// that nvcc 13.0.88 made of known sources (uncompressed, --compress-mode=speed, default), all little-endian:
//
//   file:   u32 magic 0xBA55ED50, u16 version 1, u16 header bytes (16), u64 bytes that follow
//   entry:  +0x00 u16 kind (1 PTX, 2 ELF)    +0x02 u16 version 0x0101   +0x04 u32 header bytes
//           +0x08 u64 payload bytes, padded to 8                        +0x10 u32 compressed bytes, 0 if not compressed
//           +0x1c u32 architecture (80, 90, ...)                        +0x28 u64 flags
//           +0x38 u64 decompressed bytes, 0 if not compressed; the payload lies behind the header
//   flags:  0x2000 LZ4 block (--compress-mode=speed), 0x8000 zstd (nvcc 13's default)
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace simdriver {

struct FatbinEntry {
  enum class Kind { ptx, elf };
  Kind kind;
  int arch;
  std::vector<std::byte> data;  // decompressed
};

// Reads all entries. False, with `error` set, if this is not a fatbin or it is compressed with zstd.
bool read_fatbin(const void* image, std::vector<FatbinEntry>& to, std::string& error);

// One LZ4 block (github.com/lz4/lz4, doc/lz4_Block_format.md). False if it is broken or is not `size` bytes long.
bool decode_lz4(std::span<const std::byte> from, std::size_t size, std::vector<std::byte>& to);

// The entry that a device of compute capability `arch` runs: the newest cubin of the same major and no greater minor
// number, else the newest PTX that is not newer than the device; null if nothing fits.
const FatbinEntry* choose_entry(const std::vector<FatbinEntry>& entries, int arch);

}  // namespace simdriver
