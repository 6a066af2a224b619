// What kernels/ptx.cuh includes where the compiler is g++: CUDA's language and built-ins for kernels that run on the
// simulated device, and everything of splitwiser::ptx under the same signatures. Only kernels include this.
#pragma once

#include "simt/kernel_entry.hpp"
#include "simt/language.hpp"
#include "simt/vector_types.hpp"
#include "simt/warp.hpp"
#include "simt/arithmetic.hpp"
#include "simt/atomics.hpp"
#include "simt/ptx_host.hpp"

// On the simulated device a grid begins after the one before it: there is nothing for a kernel to wait for.
// `name` is one thread; the entry takes the grid's copy of the parameters.
#define SPLITWISER_KERNEL(name, Params, threads, blocks)                                                          \
  static void name(const Params& params);                                                                         \
  static void simt_enter_##name(const void* simt_params) { name(*static_cast<const Params*>(simt_params)); }      \
  static const ::simt::RegisteredKernel simt_kernel_##name{                                                       \
      {#name, &simt_enter_##name, sizeof(Params), threads, blocks, __FILE__}};                                    \
  static void name([[maybe_unused]] const Params& params)
