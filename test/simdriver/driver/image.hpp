// What a library image says of its kernels: names, parameter sizes, registers and the like.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "fatbin.hpp"

namespace simdriver {

struct KernelImage {
  struct Parameter {
    std::size_t offset;
    std::size_t bytes;
  };
  std::vector<Parameter> parameters;
  std::size_t parameter_bytes = 0;
  int registers = 0;        // a thread
  int max_threads = 1024;   // a block: __launch_bounds__
  int shared_bytes = 0;     // static
  int local_bytes = 0;      // a thread
  int constant_bytes = 0;
  bool from_ptx = false;    // no cubin fitted: registers are those of another cubin of the file, or a guess
  int binary_arch = 0;
  int ptx_arch = 0;
};

using LibraryImage = std::map<std::string, KernelImage>;

// Reads a cubin: ELF sections .text.NAME (kernels), .nv.info and .nv.info.NAME (EIATTR attributes), .nv.shared.NAME.
// Attribute numbers were worked out from cubins of nvcc 13.0.88: 0x05 block size bound, 0x11 stack bytes, 0x17 a
// parameter, 0x19 parameter bytes, 0x2f registers.
bool read_cubin(const std::vector<std::byte>& elf, LibraryImage& to, std::string& error);

// Reads the .entry lines of PTX.
bool read_ptx(const std::vector<std::byte>& text, LibraryImage& to, std::string& error);

// The image that a device of compute capability `arch` would load.
bool read_image(const std::vector<FatbinEntry>& entries, int arch, LibraryImage& to, std::string& error);

}  // namespace simdriver
