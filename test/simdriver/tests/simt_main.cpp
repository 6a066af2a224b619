// The SIMT layer's own tests, for either tier.
#include "simt_lab.hpp"

int main() {
  std::printf("# tier: %s\n", simt::checked() ? "checked" : "fast");
  lab::test_detectors();
  lab::test_execution();
  lab::test_counts();
  lab::test_numbers();
  return lab::finish();
}
