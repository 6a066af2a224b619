#include "addon/merge_events.hpp"

#include <iterator>
#include <map>
#include <utility>

namespace splitwiser::addon {
namespace {

template <typename Element>
void append(std::vector<Element>& to, std::vector<Element>& from) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

}  // namespace

std::vector<EngineEvent> merge_tokens(std::vector<EngineEvent> events) {
  std::vector<EngineEvent> merged;
  merged.reserve(events.size());
  std::map<std::pair<std::uint64_t, std::uint32_t>, std::size_t> first;  // choice -> index in `merged`
  for (EngineEvent& event : events) {
    if (auto* tokens = std::get_if<TokensEvent>(&event)) {
      const auto [found, added] = first.try_emplace({tokens->request, tokens->choice}, merged.size());
      if (!added) {
        auto& earlier = std::get<TokensEvent>(merged[found->second]);
        append(earlier.tokens, tokens->tokens);
        earlier.text += tokens->text;
        append(earlier.logprobs, tokens->logprobs);
        continue;
      }
    }
    merged.push_back(std::move(event));
  }
  return merged;
}

}  // namespace splitwiser::addon
