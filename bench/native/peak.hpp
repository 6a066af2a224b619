// What this machine can do, measured: the roofline that every row is held against.
#pragma once

namespace splitwiser::bench {

struct Peak {
  double flops = 0;                  // f32 multiply-adds of the best instruction set, 2 operations each
  double read_bytes_per_second = 0;  // of a buffer far larger than the caches
};

// On `threads` threads at once; the best of several tries.
[[nodiscard]] Peak measure_peak(int threads, bool quick);

}  // namespace splitwiser::bench
