// Tiling of the attention kernels: what a head dim and an element size of the cache decide. Read by the kernels and by
// the plan; the reasons and the figures are in NOTES-attention.md.
#pragma once

#include "attention.hpp"

namespace splitwiser {

inline constexpr int kKeyBlock = 16;      // keys that lie in one page for certain, and the depth of one mma
inline constexpr int kFragmentRows = 16;  // query rows of a warp
inline constexpr int kPartialExtra = 4;   // floats of a partial beside its output: m, l and two that keep 16-byte steps

template <int ElementBytes, int HeadDim>
struct AttentionShape {
  static_assert(ElementBytes == 2 || ElementBytes == 4);
  static_assert(HeadDim % 16 == 0);
  static constexpr bool kHalf = ElementBytes == 2;
  static constexpr int kElementBytes = ElementBytes;
  static constexpr int kHeadDim = HeadDim;

  // Keys and values in shared memory: rows of 16-byte pieces, 8 rows at one piece in 8 different groups of banks. Where
  // the pieces are a power of 2 (8 .. 64) their number is xored with the row's, else rows have an odd number of them.
  static constexpr int kPieces = HeadDim * ElementBytes / 16;
  static constexpr bool kSwizzled = (kPieces & (kPieces - 1)) == 0;
  static constexpr int kRowBytes = 16 * (kSwizzled ? kPieces : kPieces + 1);

  // 16 query rows, laid out as keys are: mma fragments in registers (the ring's last stage, which is free before the first
  // step, is their way there), or beside the ring where registers do not reach.
  static constexpr int kQueryRowsBytes = kFragmentRows * kRowBytes;

  // Prefill: kRowGroups x 16 rows; at head dim 256 two warps share rows, each with half of the output's columns.
  static constexpr int kDimParts = HeadDim > 128 ? 2 : 1;
  static constexpr int kWarpDims = HeadDim / kDimParts;
  static constexpr int kRowGroups = !kHalf && HeadDim > 128 ? 2 : 4;
  static constexpr int kPrefillRows = kRowGroups * kFragmentRows;
  static constexpr int kPrefillThreads = 32 * kRowGroups * kDimParts;
  static constexpr int kPrefillStepKeys = kHalf ? kLeafKeys : kKeyBlock;
  static constexpr bool kPrefillKeepsQuery = kHalf && HeadDim < 128;
  static constexpr int kPrefillQueryBytes = kPrefillKeepsQuery ? 0 : kRowGroups * kQueryRowsBytes;
  static constexpr int kPrefillStages = !kHalf ? 4 : HeadDim < 128 ? 3 : 2;
  static constexpr int kPrefillBytes = kPrefillQueryBytes + kPrefillStages * kPrefillStepKeys * kRowBytes;
  static constexpr int kPrefillBlocks = HeadDim > 128 ? 1 : 2;

  // Finished rows go to `out` by way of the ring: 16 rows of f32 a warp.
  static constexpr int kOutputBytes = kFragmentRows * (4 * kWarpDims + 16);

  static_assert(kPrefillBytes <= 99 * 1024 && kPrefillStages >= 2);
  static_assert(kRowGroups * kQueryRowsBytes <= kPrefillStepKeys * kRowBytes || !kPrefillKeepsQuery);
  static_assert(kPrefillThreads / 32 * kOutputBytes <= kPrefillBytes);
};

// Decode: a unit of work is one warp's, with its own query rows and ring; at head dim 256 two warps', which are a block.
// Block: four warps share a unit, and the ring of a whole block: for so few units that a lane's multiprocessors would else
// wait for the few bytes that a warp has on its way. Each scores a quarter of a leaf's keys, which all then have by way of
// shared memory, and has part of the output's columns.
template <class Shape, bool Block>
struct DecodeShape {
  static constexpr int kHeadDim = Shape::kHeadDim;
  static constexpr int kDimParts = Block ? 4 : Shape::kDimParts;
  static constexpr int kWarpDims = kHeadDim / kDimParts;
  static constexpr int kUnits = kDimParts > 1 ? 1 : 4;  // of a block at a time
  static constexpr int kUnitThreads = 32 * kDimParts;
  static constexpr int kThreads = kUnits * kUnitThreads;
  static constexpr bool kKeepsQuery = Shape::kHalf && kHeadDim <= 128;
  static constexpr int kQueryBytes = kKeepsQuery ? 0 : Shape::kQueryRowsBytes;
  static constexpr int kStepKeys = Block ? kLeafKeys : kKeyBlock;
  static constexpr int kStepBytes = kStepKeys * Shape::kRowBytes;
  static constexpr int kScoreBytes = Block ? kFragmentRows * kLeafKeys * 4 : 0;
  static constexpr int kStages = Block            ? (kHeadDim == 64 ? 5 : 4)
                                 : Shape::kHalf   ? (kHeadDim > 128 ? 3 : 12 * 1024 / kStepBytes)
                                 : kHeadDim == 64 ? 4
                                 : kHeadDim == 80 ? 3
                                                  : 2;
  static constexpr int kUnitBytes = kQueryBytes + kScoreBytes + kStages * kStepBytes;  // in this order
  static constexpr int kBytes = kUnits * kUnitBytes;
  static constexpr int kBlocks = kHeadDim > 128 ? 4 : !Shape::kHalf ? 1 : kHeadDim == 64 ? 3 : 2;
  static constexpr int kOutputBytes = kFragmentRows * (4 * kWarpDims + 16);

  // A warp's columns are pairs of pieces, and rows of a power of 2 of pieces are what a block can copy.
  static_assert(!Block || (Shape::kHalf && Shape::kSwizzled && kWarpDims % 16 == 0 && kKeepsQuery));
  static_assert(kBytes <= 99 * 1024 && kStages >= 2 && kDimParts * kOutputBytes <= kUnitBytes);
};

// Head dims whose decode kernels have both forms.
template <class Shape>
inline constexpr bool kHasBlockDecode = Shape::kHalf && (Shape::kHeadDim == 64 || Shape::kHeadDim == 128);

}  // namespace splitwiser
