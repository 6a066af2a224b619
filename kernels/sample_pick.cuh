// Selection over the logits of a row by one block: sampling_host.hpp's steps 2 to 6, with the same result to the bit.
// Sums are integers and borders are keys, so neither the block's size nor the order of its threads matters.
#pragma once

#include "sample_list.cuh"
#include "sample_scan.cuh"
#include "sampling.hpp"

namespace splitwiser::sampling {

// logit_key's inverse (+0 for both zeros, -inf for NaN).
__device__ __forceinline__ float logit_of_key(std::uint32_t key) {
  return __uint_as_float(key & 0x80000000u ? key & 0x7FFFFFFFu : ~key);
}

struct Best {
  std::int32_t id;
  float logit;
};

__device__ __forceinline__ float logit_of_rank(std::uint64_t rank) { return logit_of_key(std::uint32_t(rank >> 32)); }

// The first token of the order, 0 where all are -inf.
__device__ __forceinline__ Best best_of(const Tokens& row) {
  std::uint64_t best = 0;
  if (row.best != nullptr) {
    for (int piece = int(threadIdx.x); piece < pieces_of(row); piece += int(blockDim.x)) {
      const std::uint64_t rank = row.best[piece];
      if (rank > best) best = rank;
    }
  } else {
    each(row, [&](int index, float logit) { best = better_rank(best, logit, index); });
  }
  best = block_max(best);
  return {std::int32_t(0xFFFFFFFFu - std::uint32_t(best)), logit_of_rank(best)};
}

// Coarse bins by the distance to the highest logit: of equal width, unlike digits of keys, so that few threads meet in one.
// No bin has a key above those of the bins before it. The last one has everything that is far away.
__device__ __forceinline__ int coarse_bin(float logit, float highest) {
  if (!(logit > kForbidden)) return kBins - 1;
  if (logit == highest) return 0;  // +inf less itself is no number
  return int(fminf(mul_rn(sub_rn(highest, logit), 8.0f), float(kBins - 1)));
}

struct KeyBorder {
  std::uint32_t key;
  std::uint64_t need;    // of the tokens with this key
  std::uint64_t of_key;  // what they have together
};

// value_of(logit) is a token's share (0: it does not count). Keys are ordered by falling logit; the border is the first at
// which the running sum of shares reaches `need`, in the coarse bin `bin`, of which `need` is wanted. Digits of 8 bits.
template <typename ValueOf>
__device__ __forceinline__ KeyBorder key_border(const Tokens& tokens, float highest, int bin, std::uint64_t need,
                                                const ValueOf& value_of) {
  KeyBorder border{0, need, 0};
  for (int shift = 24; shift >= 0; shift -= 8) {
    clear_histogram();
    each(tokens, [&](int, float logit) {
      const std::uint32_t key = logit_key(logit);
      if (((key ^ border.key) >> shift >> 8) != 0 || coarse_bin(logit, highest) != bin) return;
      const std::uint64_t value = value_of(logit);
      if (value != 0) add_to_bin(255 - int(key >> shift & 255), value);
    });
    const Selected found = select_bin([&](std::uint64_t) { return border.need; });
    border.key |= std::uint32_t(255 - found.bin) << shift;
    border.need = found.need;
    border.of_key = found.in_bin;
  }
  return border;
}

// Tokens of the coarse bins up to `bin`, if they fit; else `tokens` again.
template <typename Wanted>
__device__ __forceinline__ Tokens listed_or_all(const Tokens& row, float highest, int bin, const Wanted& wanted) {
  const auto inside = [&](float logit) { return coarse_bin(logit, highest) <= bin && wanted(logit); };
  const std::uint32_t count =
      list_tokens(row, inside, kMostListed, false, shared().ids, shared().logits,
                  [&](std::uint64_t rank) { return coarse_bin(logit_of_rank(rank), highest) <= bin; });
  return count <= kMostListed ? Tokens{shared().logits, shared().ids, int(count)} : row;
}

// What may be drawn: key >= lowest_key and weight >= least_weight; of the tokens whose key is tie_key only the first `ties` ids,
// and nothing below them.
struct Filter {
  float highest, scale;
  std::uint64_t least_weight;
  std::uint32_t lowest_key = kLowestKey;
  std::uint32_t tie_key = 0;  // no logit has it
  std::uint64_t ties = 0;

  // 0: filtered out.
  __device__ __forceinline__ std::uint64_t weight(float logit) const {
    if (logit_key(logit) < lowest_key) return 0;
    const std::uint64_t weight = token_weight(logit, highest, scale);
    return weight < least_weight ? 0 : weight;
  }
};

__device__ __forceinline__ bool is_greedy(const SamplingParams& params) { return !(params.temperature > 0); }
__device__ __forceinline__ bool cuts_top_k(const SamplingParams& params, const Tokens& row) {
  return params.top_k > 0 && params.top_k < row.count;
}
// Before top-k and top-p.
__device__ __forceinline__ Filter first_filter(const SamplingParams& params, float highest) {
  return {.highest = highest, .scale = tempered_scale(params.temperature), .least_weight = min_p_limit(params.min_p)};
}

// A row's coarse histogram: of numbers of tokens for top-k, else of the weights that the filter leaves.
__device__ __forceinline__ void add_to_coarse_bin(float logit, const Filter& filter, bool count) {
  const std::uint64_t value = count ? 1 : filter.weight(logit);
  if (value != 0) add_to_bin(coarse_bin(logit, filter.highest), value);
}

// `bins`: the row's coarse histogram, where it was scanned.
__device__ __forceinline__ void coarse_histogram(const Tokens& tokens, const Filter& filter, bool count,
                                                 const std::uint64_t* bins) {
  if (bins != nullptr) return load_histogram(bins);
  clear_histogram();
  each(tokens, [&](int, float logit) { add_to_coarse_bin(logit, filter, count); });
}

__device__ __forceinline__ Tokens apply_top_k(const Tokens& row, std::int32_t top_k, Filter& filter, const std::uint64_t* bins) {
  coarse_histogram(row, filter, true, bins);
  const Selected cut = select_bin([&](std::uint64_t) { return std::uint64_t(top_k); });
  Tokens tokens = row;
  if (cut.up_to_bin <= kMostListed) {
    tokens = listed_or_all(row, filter.highest, cut.bin, [](float) { return true; });
  }
  filter.lowest_key =
      key_border(tokens, filter.highest, cut.bin, cut.need, [](float) { return std::uint64_t(1); }).key;
  return tokens;
}

__device__ __forceinline__ Tokens apply_top_p(const Tokens& given, double top_p, Filter& filter, const std::uint64_t* bins) {
  const auto weight = [&](float logit) { return filter.weight(logit); };
  coarse_histogram(given, filter, false, bins);
  // To drop from the end while the dropped is at most a limit is to keep from the front until the rest is.
  const Selected cut = select_bin([&](std::uint64_t total) { return total - top_p_drop_limit(top_p, total); });
  const Tokens tokens =
      given.ids != nullptr
          ? given
          : listed_or_all(given, filter.highest, cut.bin, [&](float logit) { return weight(logit) != 0; });
  const KeyBorder border = key_border(tokens, filter.highest, cut.bin, cut.need, weight);
  const std::uint64_t of_one = token_weight(logit_of_key(border.key), filter.highest, filter.scale);
  filter.tie_key = border.key;
  filter.ties = top_p_ties_kept(border.of_key / of_one, of_one, 0, border.of_key - border.need);
  filter.lowest_key = border.key;
  return tokens;
}

// The first token by ascending id at which the running sum of what the filter leaves exceeds its share of `bits`.
// Each round cuts the range into one piece a warp and goes on in the piece that has the token: a block has two warps at least.
// `places`: the weights of a scanned row by place, which say where to begin.
__device__ __forceinline__ std::int32_t draw(const Tokens& tokens, const Filter& filter, std::uint64_t bits,
                                             const std::uint64_t* places) {
  const std::uint64_t tie_weight =
      filter.ties > 0 ? token_weight(logit_of_key(filter.tie_key), filter.highest, filter.scale) : 0;
  const auto is_tie = [&](float logit) { return filter.ties > 0 && logit_key(logit) == filter.tie_key; };
  const int warps = warps_of();
  int begin = 0, end = tokens.count;
  std::uint64_t target = 0, ties = filter.ties;
  if (places != nullptr) {
    load_histogram(places);
    const Selected found = select_bin([&](std::uint64_t total) { return draw_target(bits, total) + 1; });
    const int of_bin = pieces_of_place(pieces_of(tokens));
    begin = piece_begin(tokens, found.bin * of_bin);
    end = piece_begin(tokens, (found.bin + 1) * of_bin);
    target = found.need - 1;
  }
  for (bool first = places == nullptr; first || end - begin > 32; first = false) {
    const int size = ((end - begin + warps - 1) / warps + 3) / 4 * 4;
    const int from = begin + warp_of() * size < end ? begin + warp_of() * size : end;
    const int to = from + size < end ? from + size : end;
    std::uint64_t sum = 0, tied = 0;
    each(tokens, from, to, lane_of(), 32, [&](int, float logit) {
      if (is_tie(logit)) {
        tied++;
      } else {
        sum += filter.weight(logit);
      }
    });
    sum = warp_sum(sum);
    tied = warp_sum(tied);
    __syncthreads();
    if (lane_of() == 0) {
      shared().warp_sums[warp_of()] = sum;
      shared().warp_ties[warp_of()] = tied;
    }
    __syncthreads();
    const auto of_piece = [&](int i, std::uint64_t left) {
      const std::uint64_t piece_ties = shared().warp_ties[i];
      return shared().warp_sums[i] + (piece_ties < left ? piece_ties : left) * tie_weight;
    };
    const auto used = [&](int i, std::uint64_t left) {
      const std::uint64_t piece_ties = shared().warp_ties[i];
      return piece_ties < left ? piece_ties : left;
    };
    if (first) {
      std::uint64_t total = 0, left = ties;
      for (int i = 0; i < warps; i++) {
        total += of_piece(i, left);
        left -= used(i, left);
      }
      target = draw_target(bits, total);
    }
    int piece = 0;
    while (piece < warps - 1 && of_piece(piece, ties) <= target) {
      target -= of_piece(piece, ties);
      ties -= used(piece, ties);
      piece++;
    }
    begin += piece * size;
    end = begin + size < end ? begin + size : end;
  }
  // Every warp finds it.
  const bool inside = begin + lane_of() < end;
  const float logit = inside ? tokens.logits[begin + lane_of()] : kForbidden;
  const bool tie = inside && is_tie(logit);
  const std::uint32_t ties_below = __ballot_sync(kWholeWarp, tie) & ((1u << lane_of()) - 1);
  std::uint64_t weight = 0;
  if (tie) {
    weight = std::uint64_t(__popc(ties_below)) < ties ? tie_weight : 0;
  } else if (inside) {
    weight = filter.weight(logit);
  }
  const std::uint64_t running = warp_running_sum(weight);
  const std::uint32_t beyond = __ballot_sync(kWholeWarp, running > target);
  return tokens.id(begin + __ffs(int(beyond)) - 1);
}

}  // namespace splitwiser::sampling
