// Stream capture, and the event rules that depend on it.
#pragma once

#include "state.hpp"

namespace simdriver {

std::shared_ptr<Node> add_node(Graph& graph, Operation operation, const std::shared_ptr<Context>& context, int priority,
                               std::vector<std::shared_ptr<Node>> after);

CUresult begin_capture(State& all, const std::shared_ptr<Stream>& stream, CUstreamCaptureMode mode);
// `to` is null unless the capture was good.
CUresult end_capture(State& all, const std::shared_ptr<Stream>& stream, CUgraph* to);

// `external`: of CU_EVENT_RECORD_EXTERNAL and CU_EVENT_WAIT_EXTERNAL; in a capture they make nodes.
CUresult record_event(State& all, const std::shared_ptr<Stream>& stream, const std::shared_ptr<Event>& event, bool external);
CUresult wait_event(State& all, const std::shared_ptr<Stream>& stream, const std::shared_ptr<Event>& event, bool external);

}  // namespace simdriver
