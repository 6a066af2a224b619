// One step of a lane: what the scheduler put together under the lock, what the lane runs without it, and what came
// out of it. A step owns copies of all that the lane reads.
#pragma once

#include <memory>
#include <vector>

#include "engine/request.hpp"

namespace splitwiser {

// A run of consecutive tokens of one sequence.
struct Segment {
  std::shared_ptr<Request> request;
  std::shared_ptr<Sequence> sequence;
  Choice* choice = nullptr;        // decode: whose token it is; null: prompt
  std::int64_t first = 0;          // position of the first token
  std::int64_t tokens = 0;
  bool ends_prompt = false;

  [[nodiscard]] Phase phase() const { return choice ? Phase::decode : Phase::prefill; }
};

// What is wanted of the logits of one row. Sorted by row; a row has several only when n choices start from it.
struct Output {
  std::int32_t row = 0;            // of the step
  std::int32_t state = 0;          // of the hidden states that the decoder returns
  std::size_t segment = 0;
  bool read = false;               // the logits themselves
  std::int32_t prompt_target = -1; // logprob of this token (prompt logprobs)
  Choice* sample_for = nullptr;
  SampleResult result{};
};

struct SampledToken {
  Choice* choice;
  std::shared_ptr<Request> request;
  std::int32_t token;
  TokenLogprob logprob;
  std::string text{};
  bool finished = false;
  FinishReason finish_reason = FinishReason::length;
  StopReason stop_reason{};
};

struct Step {
  Phase lane;
  std::vector<Segment> segments;
  std::vector<Output> outputs;
  std::vector<std::shared_ptr<Event>> waits;
  std::vector<PageCopy> copies;
  std::vector<std::int32_t> release_after;   // references that the copies' sources keep until the step is done

  std::vector<std::int32_t> token_ids, positions, row_indptr{0}, page_indptr{0}, page_indices, last_page_len;
  std::vector<std::int32_t> wanted;          // rows with outputs, ascending
  std::vector<SampleRow> sample_rows;        // of one pass over the head; read and written by the lane
  std::vector<SampleResult> sample_results;

  std::uint64_t number = 0;                  // counts up
  bool plain_decode = false;                 // Lane::decode runs it: others may be issued before it is done
  double start_ms = 0;
  double end_ms = 0;
  bool interrupted = false;
  bool shared_sms = false;                   // Lane::take_shared_sms()
  std::optional<Failure> failure;
  std::shared_ptr<Event> done;
  std::vector<SampledToken> sampled;

  [[nodiscard]] StepInput input(int page_size) const {
    return {token_ids, positions, row_indptr, page_indptr, page_indices, last_page_len, page_size};
  }
};

}  // namespace splitwiser
