// Decode steps as graphs: one for each place of the lane, bucket of rows and bound on the sequences' lengths. A graph's
// arrays stay where they are; a step is what the host changes of them, nothing where the device has advanced to it by itself,
// one launch, and one copy of what was drawn.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backend/backend.hpp"
#include "backend/cuda/graph_arrays.hpp"
#include "backend/cuda/lane_core.hpp"
#include "backend/cuda/mirror.hpp"
#include "backend/cuda/ops.hpp"

namespace splitwiser::cuda {

class DecodeGraphs {
 public:
  DecodeGraphs(LaneCore& lane, CudaOps& ops);
  ~DecodeGraphs();
  DecodeGraphs(const DecodeGraphs&) = delete;
  DecodeGraphs& operator=(const DecodeGraphs&) = delete;

  // Makes the graphs of all places, for sequences of up to `max_tokens` tokens in pages of `page_size`. Those that are there
  // already and do the same work stay.
  void prepare(const DecodeProgram& program, std::int64_t max_rows, std::int64_t max_tokens, int page_size,
               std::span<const LanePlace> places);
  // Issues the step at the lane's place; false: there is no graph for it.
  [[nodiscard]] bool run(const DecodeStep& step);
  // Places are about to go.
  void clear();
  // What the decode step before drew, of most_drawn() rows at most.
  [[nodiscard]] const DrawnRows& drawn() const { return arrays_.drawn; }
  [[nodiscard]] std::int64_t most_drawn() const;
  [[nodiscard]] std::size_t size() const { return graphs_.size(); }
  // The device's arrays are no longer those of the last run().
  void forget() { told_.forget(); }

 private:
  struct Graph {
    const Stream* stream;
    int sms;
    int quota_sms;
    std::int64_t rows;
    std::int64_t max_length;
    CUgraphExec exec;
  };
  struct Offsets;

  void lay_out(std::int64_t max_rows);
  [[nodiscard]] GraphArrays arrays_for(std::int64_t rows, std::int64_t max_length) const;
  [[nodiscard]] const Graph* find(const LanePlace& place, std::int64_t rows, std::int64_t length) const;
  void tell(const DecodeStep& step);

  LaneCore& lane_;
  CudaOps& ops_;
  Scratch own_;
  Mirror told_;
  GraphArrays arrays_;       // of max_rows_ rows
  std::int64_t max_rows_ = 0;
  LaunchList work_;          // of the largest step
  std::vector<Graph> graphs_;
};

}  // namespace splitwiser::cuda
