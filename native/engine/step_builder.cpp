#include "engine/step_builder.hpp"

#include <algorithm>

namespace splitwiser {

void StepBuilder::add_decode(const std::shared_ptr<Request>& request, Choice& choice) {
  const auto row = std::int32_t(step_.token_ids.size());
  const std::size_t segment = step_.segments.size();
  add_segment({.request = request, .sequence = choice.sequence, .choice = &choice,
               .first = choice.sequence->computed + choice.steps_in_flight, .tokens = 1});
  choice.steps_in_flight++;
  choice.last_step = step_.number;
  choice.last_row = row;
  want({.row = row, .segment = segment, .sample_for = &choice});
}

void StepBuilder::add_prompt(const std::shared_ptr<Request>& request, std::int64_t tokens) {
  Sequence& sequence = *request->sequence;
  const auto row = std::int32_t(step_.token_ids.size());
  const std::size_t segment = step_.segments.size();
  const std::int64_t first = sequence.computed;
  const bool ends_prompt = tokens == sequence.pending();
  add_segment({.request = request, .sequence = request->sequence, .first = first, .tokens = tokens, .ends_prompt = ends_prompt});

  for (std::int64_t i = 0; i < tokens; i++) {
    const std::int64_t position = first + i;
    const bool last = ends_prompt && i + 1 == tokens;
    Output output{.row = row + std::int32_t(i), .segment = segment};
    output.read = (request->spec.logits && position >= request->first_token) || (request->spec.last_logits && last);
    if (request->spec.prompt_logprobs >= 0 && !last) output.prompt_target = sequence.tokens[std::size_t(position) + 1];
    if (last && request->spec.generate) output.sample_for = &request->choices[0];
    if (output.read || output.prompt_target >= 0 || output.sample_for) want(output);
    if (!output.sample_for) continue;
    for (std::size_t c = 1; c < request->choices.size(); c++) {
      want({.row = output.row, .segment = segment, .sample_for = &request->choices[c]});
    }
  }
}

void StepBuilder::want(Output output) {
  if (step_.wanted.empty() || step_.wanted.back() != output.row) step_.wanted.push_back(output.row);
  output.state = std::int32_t(step_.wanted.size()) - 1;
  step_.outputs.push_back(std::move(output));
}

void StepBuilder::add_segment(Segment segment) {
  Sequence& sequence = *segment.sequence;
  provide_pages(*segment.request, sequence, segment.first, segment.tokens);
  for (std::int64_t i = 0; i < segment.tokens; i++) {
    const auto position = std::size_t(segment.first + i);
    // A token that the step before is still to draw: the device knows where it will be.
    step_.token_ids.push_back(position < sequence.tokens.size() ? sequence.tokens[position] : -1 - segment.choice->last_row);
    step_.positions.push_back(std::int32_t(position));
  }
  step_.row_indptr.push_back(std::int32_t(step_.token_ids.size()));
  const std::int64_t pages = pages_for(segment.first + segment.tokens, page_size_);
  step_.page_indices.insert(step_.page_indices.end(), sequence.pages.begin(), sequence.pages.begin() + pages);
  step_.page_indptr.push_back(std::int32_t(step_.page_indices.size()));
  step_.last_page_len.push_back(std::int32_t((segment.first + segment.tokens - 1) % page_size_) + 1);
  // Invariant 2: keys and values that another lane wrote are read after that lane's event only.
  if (sequence.written && sequence.written_by != step_.lane) step_.waits.push_back(sequence.written);
  segment.request->steps_in_flight++;
  step_.segments.push_back(std::move(segment));
}

void StepBuilder::provide_pages(Request& request, Sequence& sequence, std::int64_t first_token, std::int64_t tokens) {
  const auto take = [&] {
    request.reserved--;
    return allocator_.take_reserved();
  };
  const auto first = std::size_t(first_token / page_size_);
  if (first < sequence.pages.size() && allocator_.shared(sequence.pages[first])) {
    const std::int32_t from = sequence.pages[first];
    const std::int32_t to = take();
    const auto used = std::int32_t(first_token % page_size_);
    if (used > 0) step_.copies.push_back({from, to, used});
    step_.release_after.push_back(from);
    sequence.pages[first] = to;
  }
  const auto needed = std::size_t(pages_for(first_token + tokens, page_size_));
  while (sequence.pages.size() < needed) sequence.pages.push_back(take());
}

}  // namespace splitwiser
