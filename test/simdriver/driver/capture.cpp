// Stream capture: what work on a capturing stream becomes.
#include <algorithm>
#include <set>

#include "capture.hpp"

namespace simdriver {

std::shared_ptr<Node> add_node(Graph& graph, Operation operation, const std::shared_ptr<Context>& context, int priority,
                               std::vector<std::shared_ptr<Node>> after) {
  auto node = std::make_shared<Node>();
  node->operation = std::move(operation);
  node->context = context;
  node->priority = priority;
  node->after = std::move(after);
  graph.nodes.push_back(node);
  return node;
}

void add_captured(State& all, Stream& stream, Operation operation, int priority) {
  Capture& capture = *stream.capture;
  auto& frontier = capture.frontier[&stream];
  const auto node = add_node(*capture.graph, std::move(operation), stream.context, priority, frontier);
  all.nodes.add<CUgraphNode>(node);
  frontier = {node};
}

CUresult State::issue(const std::shared_ptr<Stream>& stream, Operation operation, int priority) {
  if (stream->capture) {
    if (stream->capture->invalid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    add_captured(*this, *stream, std::move(operation), priority);
    return CUDA_SUCCESS;
  }
  if (stream->legacy) {  // would make a blocking stream that captures wait for work outside its graph
    for (const auto& capture : captures) {
      for (const auto& [captured, frontier] : capture->frontier) {
        if (captured->context != stream->context || !captured->blocking()) continue;
        finding("the legacy default stream was used while a blocking stream of its context captures");
        invalidate(*capture);
        return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
      }
    }
  }
  enqueue(*stream, std::move(operation), priority);
  return CUDA_SUCCESS;
}

CUresult begin_capture(State& all, const std::shared_ptr<Stream>& stream, CUstreamCaptureMode mode) {
  if (mode > CU_STREAM_CAPTURE_MODE_RELAXED) return CUDA_ERROR_INVALID_VALUE;
  if (stream->legacy) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  if (stream->capture) return CUDA_ERROR_ILLEGAL_STATE;
  auto capture = std::make_shared<Capture>();
  capture->mode = mode;
  capture->thread = this_thread();
  capture->id = all.next_id++;
  capture->origin = stream.get();
  capture->frontier[stream.get()];
  stream->capture = capture;
  all.captures.push_back(capture);
  return CUDA_SUCCESS;
}

namespace {

// Everything that `nodes` come after, themselves included.
std::set<const Node*> reach(const std::vector<std::shared_ptr<Node>>& nodes) {
  std::set<const Node*> seen;
  std::vector<const Node*> open;
  for (const auto& node : nodes) open.push_back(node.get());
  while (!open.empty()) {
    const Node* const node = open.back();
    open.pop_back();
    if (!seen.insert(node).second) continue;
    for (const auto& before : node->after) open.push_back(before.get());
  }
  return seen;
}

}  // namespace

CUresult end_capture(State& all, const std::shared_ptr<Stream>& stream, CUgraph* to) {
  *to = nullptr;
  const auto capture = stream->capture;
  if (!capture) return CUDA_ERROR_ILLEGAL_STATE;
  if (capture->origin != stream.get()) return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
  if (capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED && capture->thread != this_thread()) {
    all.finding("a capture was ended by another thread than the one that began it");
    return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
  }
  const auto joined = reach(capture->frontier[stream.get()]);
  bool unjoined = false;
  for (const auto& [other, frontier] : capture->frontier) {
    for (const auto& node : frontier) unjoined = unjoined || joined.count(node.get()) == 0;
    other->capture = nullptr;
  }
  capture->ended = true;
  std::erase(all.captures, capture);
  if (capture->invalid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  if (unjoined) {
    all.finding("a capture ended while another stream's work was not joined into it");
    return CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
  }
  *to = all.graphs.add<CUgraph>(capture->graph);
  return CUDA_SUCCESS;
}

CUresult wait_event(State& all, const std::shared_ptr<Stream>& stream, const std::shared_ptr<Event>& event, bool external) {
  if (event->capture) {
    if (event->capture->ended) return CUDA_ERROR_CAPTURED_EVENT;
    if (stream->capture && stream->capture != event->capture) {
      all.invalidate(*event->capture);
      all.invalidate(*stream->capture);
      return CUDA_ERROR_STREAM_CAPTURE_MERGE;
    }
    if (stream->legacy) {
      all.invalidate(*event->capture);
      return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
    }
    stream->capture = event->capture;
    auto& frontier = stream->capture->frontier[stream.get()];
    for (const auto& node : event->frontier) {
      if (std::find(frontier.begin(), frontier.end(), node) == frontier.end()) frontier.push_back(node);
    }
    return CUDA_SUCCESS;
  }
  Operation operation;
  operation.kind = OperationKind::wait;
  operation.event = event;
  if (stream->capture) {
    if (!external) {
      all.finding("a capturing stream was made to wait for an event outside its capture");
      all.invalidate(*stream->capture);
      return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
    }
    return all.issue(stream, std::move(operation), stream->priority);
  }
  if (!event->last) return CUDA_SUCCESS;  // never recorded: nothing to wait for
  auto item = std::make_shared<Item>();
  item->context = stream->context;
  item->stream = item->chain = stream->id;
  auto after = all.before(*stream);
  after.push_back(event->last);
  stream->tail = item;
  all.executor.submit(item, after);
  return CUDA_SUCCESS;
}

CUresult record_event(State& all, const std::shared_ptr<Stream>& stream, const std::shared_ptr<Event>& event, bool external) {
  if (event->context != stream->context) {
    all.finding("cuEventRecord: the event and the stream are of different contexts");
    return CUDA_ERROR_INVALID_HANDLE;
  }
  if (stream->capture && external) {
    Operation operation;
    operation.kind = OperationKind::record;
    operation.event = event;
    return all.issue(stream, std::move(operation), stream->priority);
  }
  if (stream->capture) {
    if (stream->capture->invalid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    event->capture = stream->capture;
    event->frontier = stream->capture->frontier[stream.get()];
    return CUDA_SUCCESS;
  }
  event->capture = nullptr;
  event->last = all.enqueue(*stream, {}, stream->priority);
  return CUDA_SUCCESS;
}

}  // namespace simdriver
