// Entry points by base name and the CUDA version that each variant came with (the PFN_*_vNNNNN of cudaTypedefs.h).
#pragma once

namespace simdriver {

struct SymbolAnswer {
  bool known = false;       // the driver has the symbol, in some version
  void* address = nullptr;  // the newest variant that is no newer than the version asked for
};

// A driver of version `driver` has no variants that came later.
SymbolAnswer find_symbol(const char* name, int version, int driver);

}  // namespace simdriver
