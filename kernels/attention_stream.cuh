// Keys and values of one KV head of a segment on their way to shared memory: a ring of steps, each of StepKeys keys or
// values, leaf by leaf, a leaf's keys before its values. `Threads` threads share a stream: a block, or one warp.
#pragma once

#include "attention_shape.hpp"
#include "ptx.cuh"

namespace splitwiser::attention {

inline constexpr std::uint32_t kAllLanes = 0xffffffffu;

// The lane's number once more. The compiler does not see that it is the same, so that what is computed from it for one part
// of a kernel takes no registers in the others.
__device__ __forceinline__ int renewed(int lane) { return __shfl_sync(kAllLanes, lane, lane); }

// Places in shared memory are offsets from its start, which is aligned to 128: an xor of the low 7 bits of an offset turns
// pieces of a row, and costs no register that lives longer than the step.

// Where piece `piece` of row `row` lies in a step.
template <class Shape>
__device__ __forceinline__ int piece_at(int row, int piece) {
  return row * Shape::kRowBytes + (Shape::kSwizzled ? piece ^ (row & 7) : piece) * 16;
}

// Waits for the threads that share a ring: a warp or a block.
template <int Threads>
__device__ __forceinline__ void sync_threads() {
  if constexpr (Threads == 32) {
    __syncwarp();
  } else {
    __syncthreads();
  }
}

// What a lane adds to a step's place for ldmatrix over rows 0 .. 15: matrices 0 and 1 are rows 0 .. 7 and 8 .. 15 at piece 0,
// matrices 2 and 3 at piece 1.
template <class Shape>
__device__ __forceinline__ int matrix_lane(int lane) {
  return piece_at<Shape>(lane & 15, lane >> 4);
}

// The same of pieces 2 * pair and 2 * pair + 1, from a place that matrix_lane() is part of. Multiples of 8 rows may be added.
template <class Shape>
__device__ __forceinline__ int piece_pair(int place, int pair) {
  if constexpr (Shape::kSwizzled) return (place ^ (pair & 3) * 32) + (pair >> 2) * 128;
  return place + pair * 32;
}

template <class Shape, int Threads, int StepKeys, int Stages>
class KvStream {
 public:
  static constexpr int kStepBytes = StepKeys * Shape::kRowBytes;
  static constexpr int kKeySteps = kLeafKeys / StepKeys;  // of a leaf; its values take as many
  static constexpr int kLeafSteps = 2 * kKeySteps;

  __device__ __forceinline__ KvStream(const AttentionParams& params, int ring, int thread)
      : params_(params), ring_(ring), thread_(thread) {}

  // The ring's last stage: free from start() to the first step().
  __device__ __forceinline__ int last_stage() const { return ring_ + (Stages - 1) * kStepBytes; }

  // The segment's keys [begin, end), from a leaf on; what lies in the leaves beyond them is zero.
  __device__ __forceinline__ void start(int segment, int kv_head, int begin, int end, int first_leaf) {
    sync_threads<Threads>();  // nobody uses the ring any more
    kv_head_ = kv_head;
    first_page_ = params_.step.page_indptr[segment];
    begin_ = begin;
    end_ = end;
    leaf_ = first_leaf;
    stage_ = 0;
    look_up(first_leaf);
    turn_leaf();
#pragma unroll
    for (int i = 0; i < Stages - 1; ++i) issue(i % kLeafSteps, ring_ + i * kStepBytes);
  }

  // Step `index` of the leaf, arrived and visible to all threads; the one before it is given back. Called in order.
  __device__ __forceinline__ int step(int index) {
    ptx::cp_async_wait<Stages - 2>();
    sync_threads<Threads>();
    const int at = ring_ + stage_ * kStepBytes;
    issue((index + Stages - 1) % kLeafSteps, ring_ + (stage_ == 0 ? Stages - 1 : stage_ - 1) * kStepBytes);
    stage_ = stage_ + 1 == Stages ? 0 : stage_ + 1;
    return at;
  }

 private:
  static constexpr int kSourceRowBytes = Shape::kHeadDim * Shape::kElementBytes;

  // Lane l asks for the page of block l % 4 of a leaf. The answer is used when the leaf's turn comes, a leaf later.
  __device__ __forceinline__ void look_up(int leaf) {
    const int key = leaf * kLeafKeys + (thread_ & 3) * kKeyBlock;
    const int slot = int(unsigned(key) / unsigned(params_.kv.page_size));
    within_ = key - slot * params_.kv.page_size;
    page_ = key < end_ && key + kKeyBlock > begin_ ? params_.step.page_indices[std::int64_t(first_page_) + slot] : 0;
  }
  __device__ __forceinline__ void turn_leaf() {
    offset_ = (kv_head_ * params_.kv.head_stride + page_ * params_.kv.page_stride) * Shape::kElementBytes +
              within_ * kSourceRowBytes;
    look_up(leaf_ + 1);
  }

  // The offset of a block of the leaf, known to the lane of that number.
  __device__ __forceinline__ std::int64_t offset_of(int block) const {
    const std::uint32_t low = __shfl_sync(kAllLanes, std::uint32_t(offset_), block);
    const std::uint32_t high = __shfl_sync(kAllLanes, std::uint32_t(std::uint64_t(offset_) >> 32), block);
    return std::int64_t(std::uint64_t(high) << 32 | low);
  }

  // Starts the copies of a step of the leaf whose turn it is, to place `to`.
  __device__ __forceinline__ void issue(int index, int to) {
    if (leaf_ * kLeafKeys < end_) {
      const int first = index % kKeySteps * StepKeys;
      const char* from = static_cast<const char*>(index < kKeySteps ? params_.kv.keys : params_.kv.values);
      const int relative = leaf_ * kLeafKeys + first - begin_;
      const unsigned count = unsigned(end_ - begin_);
      if constexpr (Shape::kSwizzled) {
        copy_rows(from, to, first, relative, count);
      } else {
        copy_sectors(from, to, first, relative, count);
      }
    }
    if (index == kLeafSteps - 1) {
      ++leaf_;
      turn_leaf();
    }
    ptx::cp_async_commit();  // empty at the end: waits count groups
  }

  // Whole rows, kRows of them at a time. kRows is a power of 2: a thread's row in it and its multiples share no bits.
  __device__ __forceinline__ void copy_rows(const char* from, int to, int first, int relative, unsigned count) {
    constexpr int kRows = Threads < Shape::kPieces ? 1 : Threads / Shape::kPieces;
    constexpr int kTurns = Threads < Shape::kPieces ? Shape::kPieces / Threads : 1;  // of a row
    static_assert(StepKeys % kRows == 0 && kRows <= kKeyBlock);
    const int row = kTurns > 1 ? 0 : int(unsigned(thread_) / Shape::kPieces);
    const int piece = kTurns > 1 ? thread_ : int(unsigned(thread_) % Shape::kPieces);
    const int place = to + piece_at<Shape>(row, piece);
    const int bytes = row * kSourceRowBytes + piece * 16;
#pragma unroll
    for (int block = 0; block < StepKeys / kKeyBlock; ++block) {
      const char* source = from + offset_of(first / kKeyBlock + block) + bytes;
#pragma unroll
      for (int i = 0; i < kKeyBlock / kRows * kTurns; ++i) {
        const int above = block * kKeyBlock + i / kTurns * kRows;
        const int beside = i % kTurns * Threads * 16;
        ptx::cp_async_16(ptx::shared_memory() + (place ^ (above & 7) * 16) + above * Shape::kRowBytes + beside,
                         source + i / kTurns * kRows * kSourceRowBytes + beside, unsigned(relative + row + above) < count ? 16 : 0);
      }
    }
  }

  // 8 rows x 32 bytes to 16 threads, where rows are padded: 8 threads must write to 8 groups of banks.
  __device__ __forceinline__ void copy_sectors(const char* from, int to, int first, int relative, unsigned count) {
    constexpr int kGroups = StepKeys / 8;
    constexpr int kAtOnce = Threads / 16 / kGroups;  // sectors of a row
    constexpr int kSectors = Shape::kPieces / 2;
    static_assert(kAtOnce >= 1);
    const int row = thread_ / 16 % kGroups * 8 + thread_ % 8;
    const int sector = thread_ / 16 / kGroups;
    const int piece = sector * 2 + thread_ / 8 % 2;
    const int place = to + piece_at<Shape>(row, piece);
    const char* source = from + offset_of((first + row) / kKeyBlock) + (row % kKeyBlock * kSourceRowBytes + piece * 16);
    const int valid = unsigned(relative + row) < count ? 16 : 0;
#pragma unroll
    for (int i = 0; i < (kSectors + kAtOnce - 1) / kAtOnce; ++i) {
      if (kSectors % kAtOnce != 0 && sector + i * kAtOnce >= kSectors) break;
      ptx::cp_async_16(ptx::shared_memory() + place + i * kAtOnce * 32, source + i * kAtOnce * 32, valid);
    }
  }

  const AttentionParams& params_;
  int ring_;
  int thread_;
  int kv_head_, first_page_;
  int begin_, end_;
  int leaf_;             // the leaf that is being issued
  int stage_;            // of the next step()
  std::int64_t offset_;  // of this lane's block of the leaf that is being issued
  int page_, within_;    // of this lane's block of the leaf after it
};

}  // namespace splitwiser::attention
