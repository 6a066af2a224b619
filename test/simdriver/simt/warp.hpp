// Barriers and warp collectives under CUDA's names.
//
// None of them but __syncthreads and __syncwarp orders memory. A collective waits for every lane of its mask.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace simt {

enum class ShuffleKind : std::uint8_t { index, up, down, butterfly };
enum class Reduction : std::uint8_t { add, min, max, min_signed, max_signed, bit_and, bit_or, bit_xor };
enum class BarrierKind : std::uint8_t { plain, count, conjunction, disjunction };

std::uint64_t shuffle(ShuffleKind kind, std::uint32_t mask, std::uint64_t value, unsigned lane, unsigned width);
std::uint32_t ballot(std::uint32_t mask, bool predicate);
std::uint32_t reduce(Reduction kind, std::uint32_t mask, std::uint32_t value);
std::uint32_t match_any(std::uint32_t mask, std::uint64_t value);
std::uint32_t active_mask();
void sync_warp(std::uint32_t mask);
int sync_threads(BarrierKind kind, bool predicate);

template <typename T>
inline std::uint64_t to_bits(T value) {
  static_assert(std::is_trivially_copyable_v<T> && (sizeof(T) == 4 || sizeof(T) == 8), "a shuffle moves 4 or 8 bytes");
  if constexpr (sizeof(T) == 4) return std::bit_cast<std::uint32_t>(value);
  else return std::bit_cast<std::uint64_t>(value);
}
template <typename T>
inline T from_bits(std::uint64_t bits) {
  if constexpr (sizeof(T) == 4) return std::bit_cast<T>(static_cast<std::uint32_t>(bits));
  else return std::bit_cast<T>(bits);
}
template <typename T>
inline T shuffle_as(ShuffleKind kind, unsigned mask, T value, unsigned lane, int width) {
  return from_bits<T>(shuffle(kind, mask, to_bits(value), lane, static_cast<unsigned>(width)));
}

}  // namespace simt

inline void __syncthreads() { ::simt::sync_threads(::simt::BarrierKind::plain, false); }
inline int __syncthreads_count(int predicate) {
  return ::simt::sync_threads(::simt::BarrierKind::count, predicate != 0);
}
inline int __syncthreads_and(int predicate) {
  return ::simt::sync_threads(::simt::BarrierKind::conjunction, predicate != 0);
}
inline int __syncthreads_or(int predicate) {
  return ::simt::sync_threads(::simt::BarrierKind::disjunction, predicate != 0);
}
inline void __syncwarp(unsigned mask = 0xffffffffu) { ::simt::sync_warp(mask); }

template <typename T>
inline T __shfl_sync(unsigned mask, T value, int lane, int width = 32) {
  return ::simt::shuffle_as(::simt::ShuffleKind::index, mask, value, static_cast<unsigned>(lane), width);
}
template <typename T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  return ::simt::shuffle_as(::simt::ShuffleKind::up, mask, value, delta, width);
}
template <typename T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  return ::simt::shuffle_as(::simt::ShuffleKind::down, mask, value, delta, width);
}
template <typename T>
inline T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32) {
  return ::simt::shuffle_as(::simt::ShuffleKind::butterfly, mask, value, static_cast<unsigned>(lane_mask), width);
}

inline unsigned __ballot_sync(unsigned mask, int predicate) { return ::simt::ballot(mask, predicate != 0); }
inline int __any_sync(unsigned mask, int predicate) { return ::simt::ballot(mask, predicate != 0) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return ::simt::ballot(mask, predicate == 0) == 0; }
inline unsigned __activemask() { return ::simt::active_mask(); }
template <typename T>
inline unsigned __match_any_sync(unsigned mask, T value) {
  return ::simt::match_any(mask, ::simt::to_bits(value));
}

inline unsigned __reduce_add_sync(unsigned mask, unsigned value) {
  return ::simt::reduce(::simt::Reduction::add, mask, value);
}
inline unsigned __reduce_min_sync(unsigned mask, unsigned value) {
  return ::simt::reduce(::simt::Reduction::min, mask, value);
}
inline unsigned __reduce_max_sync(unsigned mask, unsigned value) {
  return ::simt::reduce(::simt::Reduction::max, mask, value);
}
inline int __reduce_min_sync(unsigned mask, int value) {
  return static_cast<int>(::simt::reduce(::simt::Reduction::min_signed, mask, static_cast<unsigned>(value)));
}
inline int __reduce_max_sync(unsigned mask, int value) {
  return static_cast<int>(::simt::reduce(::simt::Reduction::max_signed, mask, static_cast<unsigned>(value)));
}
inline int __reduce_add_sync(unsigned mask, int value) {
  return static_cast<int>(::simt::reduce(::simt::Reduction::add, mask, static_cast<unsigned>(value)));
}
inline unsigned __reduce_and_sync(unsigned mask, unsigned value) {
  return ::simt::reduce(::simt::Reduction::bit_and, mask, value);
}
inline unsigned __reduce_or_sync(unsigned mask, unsigned value) {
  return ::simt::reduce(::simt::Reduction::bit_or, mask, value);
}
inline unsigned __reduce_xor_sync(unsigned mask, unsigned value) {
  return ::simt::reduce(::simt::Reduction::bit_xor, mask, value);
}
