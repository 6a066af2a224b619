#include "engine/text/text.hpp"

#include <algorithm>
#include <utility>

namespace splitwiser {

TextStream::TextStream(std::shared_ptr<const Vocabulary> vocabulary, std::span<const std::string> stops)
    : decoder_(std::move(vocabulary)), matcher_(stops) {}

TextStep TextStream::push(std::int32_t token, bool stops_count) {
  if (stopped_by_ >= 0) return {{}, true, stopped_by_};
  const std::size_t before = pending_.size();
  const std::size_t taken_back = decoder_.push(token, pending_);
  TextStep step;
  if (search(before - taken_back, taken_back, stops_count, step)) return step;
  // Enough stays to come back to the settled state.
  const std::size_t keep = std::max(matcher_.held(), decoder_.provisional() + matcher_.held(settled_));
  return send(pending_.size() - keep);
}

TextStep TextStream::finish(bool stops_count) {
  if (stopped_by_ >= 0) return {{}, true, stopped_by_};
  const std::size_t before = pending_.size();
  const std::size_t taken_back = decoder_.flush(pending_);
  TextStep step;
  if (search(before - taken_back, taken_back, stops_count, step)) return step;
  matcher_.restore(0);
  settled_ = 0;
  return send(pending_.size());
}

bool TextStream::search(std::size_t from, std::size_t taken_back, bool stops_count, TextStep& step) {
  if (taken_back > 0) matcher_.restore(settled_);
  const StopHit hit = matcher_.feed(std::string_view(pending_).substr(from), stops_count);
  if (hit) {
    stopped_by_ = hit.index;
    step = {pending_.substr(0, from + hit.end - hit.length), true, hit.index};
    pending_.clear();
    return true;
  }
  // A token either goes on with a run of byte tokens or settles everything.
  if (decoder_.provisional() == 0) settled_ = matcher_.state();
  return false;
}

TextStep TextStream::send(std::size_t bytes) {
  TextStep step;
  step.text = pending_.substr(0, bytes);
  pending_.erase(0, bytes);
  return step;
}

}  // namespace splitwiser
