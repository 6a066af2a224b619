// What is remembered of memory: for each 4 bytes the last writers and readers, and which bytes have a value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "simt/machine.hpp"

namespace simt {

// Who, when and where. An epoch is the time of one block between two barriers (or one host access); `clock` counts a
// thread's warp-level synchronisations and releases within it.
struct Record {
  std::uint32_t epoch = 0;   // 0: nobody
  std::uint16_t thread = 0;
  std::uint16_t clock = 0;
  std::int32_t site = 0;     // relative to the image; 0: none
};

// Masks have a bit for each byte. Two writers and two readers: halves of a word that are 16-bit numbers of different
// threads, and a reader beside the one that comes to write.
struct Cell {
  Record writer[2], reader[2];
  std::uint8_t written[2], read[2];
  std::uint8_t valued;       // has a value
  std::uint8_t pending;      // a cp.async that has not arrived will write it
  std::uint8_t atomic;       // bit i: writer i's write was atomic
  std::uint8_t read_only;    // bit i: reader i's load was .nc
};
static_assert(sizeof(Cell) == 56);

// Zeroed memory that costs nothing until it is touched.
class Cells {
 public:
  explicit Cells(std::size_t count);
  ~Cells();
  Cells(const Cells&) = delete;
  Cells& operator=(const Cells&) = delete;
  [[nodiscard]] Cell* data() const { return data_; }

 private:
  Cell* data_ = nullptr;
  std::size_t bytes_ = 0;
};

struct Allocation {
  std::uintptr_t base = 0;
  std::size_t bytes = 0;
  std::string label;
  Space space = Space::device;
  bool initialised = false;        // nothing is said of reads before writes
  std::uint32_t id = 0;
  std::unique_ptr<Cells> cells;
  std::vector<Token> users;        // grids that touched it
};

}  // namespace simt
