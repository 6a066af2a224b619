// Graphs: built by capture or node by node, instantiated, launched.
#include <algorithm>
#include <map>

#include "capture.hpp"
#include "launch.hpp"

using namespace simdriver;

namespace {

CUgraphNodeType type_of(OperationKind kind) {
  switch (kind) {
    case OperationKind::kernel: return CU_GRAPH_NODE_TYPE_KERNEL;
    case OperationKind::copy: return CU_GRAPH_NODE_TYPE_MEMCPY;
    case OperationKind::fill: return CU_GRAPH_NODE_TYPE_MEMSET;
    case OperationKind::host: return CU_GRAPH_NODE_TYPE_HOST;
    case OperationKind::record: return CU_GRAPH_NODE_TYPE_EVENT_RECORD;
    case OperationKind::wait: return CU_GRAPH_NODE_TYPE_WAIT_EVENT;
    case OperationKind::nothing: break;
  }
  return CU_GRAPH_NODE_TYPE_EMPTY;
}

CUresult find_nodes(State& all, const CUgraphNode* handles, std::size_t count, std::vector<std::shared_ptr<Node>>& to) {
  if (count > 0 && !handles) return CUDA_ERROR_INVALID_VALUE;
  for (std::size_t i = 0; i < count; ++i) {
    to.push_back(all.nodes.find(handles[i]));
    if (!to.back()) return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}

CUresult add(State& all, CUgraphNode* to, CUgraph handle, const CUgraphNode* after, std::size_t count, Operation operation,
             const std::shared_ptr<Context>& context) {
  const auto graph = all.graphs.find(handle);
  std::vector<std::shared_ptr<Node>> before;
  if (!graph || !to) return CUDA_ERROR_INVALID_VALUE;
  if (const CUresult result = find_nodes(all, after, count, before); result != CUDA_SUCCESS) return result;
  *to = all.nodes.add<CUgraphNode>(add_node(*graph, std::move(operation), context, 0, std::move(before)));
  return CUDA_SUCCESS;
}

// func, or kern in ctx, or kern in the current context.
template <class Params>
CUresult kernel_operation(State& all, const Params& params, Operation& operation, std::shared_ptr<Context>& context) {
  context = all.current();
  CUfunction kernel = params.func;
  if (kernel) {
    if (const auto function = all.functions.find(kernel)) context = function->context;
  } else {
    kernel = reinterpret_cast<CUfunction>(params.kern);
    if (params.ctx) context = all.contexts.find(params.ctx);
  }
  if (!context) return CUDA_ERROR_INVALID_CONTEXT;
  const LaunchShape shape{{params.gridDimX, params.gridDimY, params.gridDimZ},
                          {params.blockDimX, params.blockDimY, params.blockDimZ},
                          params.sharedMemBytes};
  return make_launch(all, kernel, shape, params.kernelParams, params.extra, context, true, operation);
}

CUresult instantiate(State& all, CUgraphExec* to, CUgraph handle, unsigned long long flags) {
  const auto graph = all.graphs.find(handle);
  constexpr unsigned long long kKnown = CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH | CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD |
                                        CUDA_GRAPH_INSTANTIATE_FLAG_USE_NODE_PRIORITY;
  if (!to || !graph || (flags & ~kKnown) != 0) return CUDA_ERROR_INVALID_VALUE;
  auto exec = std::make_shared<GraphExec>();
  exec->nodes = graph->nodes;
  exec->flags = flags;
  exec->uploaded = (flags & CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD) != 0;
  // A chain for the race detector holds what is ordered anyway: a node takes the chain of a node that it comes after
  // unless another has; the first takes the launching stream's (0).
  std::map<const Node*, std::size_t> places;
  std::vector<bool> has_heir(exec->nodes.size());
  bool stream_taken = false;
  for (std::size_t i = 0; i < exec->nodes.size(); ++i) {
    const Node& node = *exec->nodes[i];
    places[&node] = i;
    std::uint64_t chain = node.after.empty() && !stream_taken ? 0 : all.next_id++;
    if (node.after.empty()) stream_taken = true;
    for (const auto& before : node.after) {
      const std::size_t place = places[before.get()];
      if (chain == 0 || has_heir[place]) continue;
      chain = exec->chains[place];
      has_heir[place] = true;
      break;
    }
    exec->chains.push_back(chain);
  }
  exec->after.assign(exec->nodes.size(), {});
  for (std::size_t i = 0; i < exec->nodes.size(); ++i) {
    for (const auto& before : exec->nodes[i]->after) exec->after[i].push_back(places[before.get()]);
  }
  ++all.report.graph_instantiations;
  *to = all.execs.add<CUgraphExec>(exec);
  return CUDA_SUCCESS;
}

CUresult launch(State& all, GraphExec& exec, const std::shared_ptr<Stream>& stream) {
  if (stream->capture) {
    all.finding("a graph was launched into a capturing stream, which is not simulated");
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  ++all.report.graph_launches;
  if (!exec.uploaded) ++all.report.late_uploads;
  exec.uploaded = true;
  if (exec.last && !exec.last->done && exec.last_stream != stream->id) {
    // One exec runs once at a time: this launch waits for the other stream's, an order that nobody asked for.
    all.finding("an executable graph was launched on a stream while it runs on another: the second waits for the first");
  }
  const auto before_all = [&] {
    auto after = all.before(*stream);
    after.push_back(exec.last);
    return after;
  }();
  std::vector<std::shared_ptr<Item>> items;
  std::vector<bool> followed(exec.nodes.size());
  for (std::size_t i = 0; i < exec.nodes.size(); ++i) {
    const Node& node = *exec.nodes[i];
    auto item = std::make_shared<Item>();
    item->operation = node.operation;
    item->context = node.context;
    item->stream = stream->id;
    item->chain = exec.chains[i] == 0 ? stream->id : exec.chains[i];
    const bool own_priority = (exec.flags & CUDA_GRAPH_INSTANTIATE_FLAG_USE_NODE_PRIORITY) != 0;
    item->priority = own_priority ? node.priority : stream->priority;
    item->from_graph = true;
    auto after = exec.after[i].empty() ? before_all : std::vector<std::shared_ptr<Item>>{};
    for (const std::size_t place : exec.after[i]) {
      after.push_back(items[place]);
      followed[place] = true;
    }
    const OperationKind kind = node.operation.kind;
    if (kind == OperationKind::kernel) ++all.report.graph_nodes;
    if (node.operation.programmatic) ++all.report.programmatic_nodes;
    if (kind == OperationKind::copy || kind == OperationKind::fill) all.report.copy(*item);
    if (kind == OperationKind::wait) after.push_back(node.operation.event->last);
    if (kind == OperationKind::record) {
      node.operation.event->capture = nullptr;
      node.operation.event->last = item;
    }
    items.push_back(item);
    all.executor.submit(item, after);
  }
  auto end = std::make_shared<Item>();
  end->context = stream->context;
  end->stream = end->chain = stream->id;
  auto after = before_all;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (!followed[i]) after.push_back(items[i]);
  }
  exec.last = stream->tail = end;
  exec.last_stream = stream->id;
  all.executor.submit(end, after);
  return CUDA_SUCCESS;
}

}  // namespace

extern "C" {

CUresult CUDAAPI cuGraphCreate(CUgraph* to, unsigned int flags) {
  return entry("cuGraphCreate", {}, [&](State& all, auto&) {
    if (!to || flags != 0) return CUDA_ERROR_INVALID_VALUE;
    *to = all.graphs.add<CUgraph>(std::make_shared<Graph>());
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuGraphDestroy(CUgraph handle) {
  return entry("cuGraphDestroy", {.after_loss = true}, [&](State& all, auto&) {
    const auto graph = all.graphs.find(handle);
    if (!graph) return CUDA_ERROR_INVALID_VALUE;
    for (const auto& node : graph->nodes) all.nodes.retire(node.get());
    all.graphs.retire(handle);
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuGraphAddKernelNode(CUgraphNode* to, CUgraph graph, const CUgraphNode* after, std::size_t count,
                                      const CUDA_KERNEL_NODE_PARAMS* params) {
  return entry("cuGraphAddKernelNode", {}, [&](State& all, auto&) {
    if (!params) return CUDA_ERROR_INVALID_VALUE;
    Operation operation;
    std::shared_ptr<Context> context;
    const CUresult result = kernel_operation(all, *params, operation, context);
    return result != CUDA_SUCCESS ? result : add(all, to, graph, after, count, std::move(operation), context);
  });
}

CUresult CUDAAPI cuGraphAddEmptyNode(CUgraphNode* to, CUgraph graph, const CUgraphNode* after, std::size_t count) {
  return entry("cuGraphAddEmptyNode", {}, [&](State& all, auto&) {
    return add(all, to, graph, after, count, {}, all.current());
  });
}

CUresult CUDAAPI cuGraphAddNode(CUgraphNode* to, CUgraph graph, const CUgraphNode* after, const CUgraphEdgeData* edges,
                                std::size_t count, CUgraphNodeParams* params) {
  return entry("cuGraphAddNode", {}, [&](State& all, auto&) {
    (void)edges;  // a permission to overlap, not taken here
    if (!params) return CUDA_ERROR_INVALID_VALUE;
    Operation operation;
    std::shared_ptr<Context> context = all.current();
    CUresult result = CUDA_SUCCESS;
    switch (params->type) {
      case CU_GRAPH_NODE_TYPE_KERNEL: result = kernel_operation(all, params->kernel, operation, context); break;
      case CU_GRAPH_NODE_TYPE_EMPTY: break;
      case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
      case CU_GRAPH_NODE_TYPE_WAIT_EVENT: {
        const bool records = params->type == CU_GRAPH_NODE_TYPE_EVENT_RECORD;
        operation.kind = records ? OperationKind::record : OperationKind::wait;
        operation.event = all.events.find(records ? params->eventRecord.event : params->eventWait.event);
        if (!operation.event) result = CUDA_ERROR_INVALID_HANDLE;
        if (operation.event && records) context = operation.event->context;
        break;
      }
      default: result = CUDA_ERROR_NOT_SUPPORTED;
    }
    return result != CUDA_SUCCESS ? result : add(all, to, graph, after, count, std::move(operation), context);
  });
}

CUresult CUDAAPI cuGraphGetNodes(CUgraph handle, CUgraphNode* to, std::size_t* count) {
  return entry("cuGraphGetNodes", {}, [&](State& all, auto&) {
    const auto graph = all.graphs.find(handle);
    if (!graph || !count) return CUDA_ERROR_INVALID_VALUE;
    for (std::size_t i = 0; to && i < *count; ++i) {
      to[i] = i < graph->nodes.size() ? reinterpret_cast<CUgraphNode>(graph->nodes[i].get()) : nullptr;
    }
    *count = to ? std::min(*count, graph->nodes.size()) : graph->nodes.size();
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuGraphNodeGetType(CUgraphNode handle, CUgraphNodeType* to) {
  return entry("cuGraphNodeGetType", {}, [&](State& all, auto&) {
    const auto node = all.nodes.find(handle);
    if (!node || !to) return CUDA_ERROR_INVALID_VALUE;
    *to = type_of(node->operation.kind);
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuGraphKernelNodeGetParams(CUgraphNode handle, CUDA_KERNEL_NODE_PARAMS* to) {
  return entry("cuGraphKernelNodeGetParams", {}, [&](State& all, auto&) {
    const auto node = all.nodes.find(handle);
    if (!node || !to || node->operation.kind != OperationKind::kernel) return CUDA_ERROR_INVALID_VALUE;
    *to = {};
    to->gridDimX = node->operation.grid;
    to->blockDimX = node->operation.block;
    to->gridDimY = to->gridDimZ = to->blockDimY = to->blockDimZ = 1;
    to->sharedMemBytes = node->operation.shared_bytes;
    to->kern = reinterpret_cast<CUkernel>(node->operation.kernel.get());
    to->ctx = reinterpret_cast<CUcontext>(node->context.get());
    node->parameters = node->operation.parameters.data();
    to->kernelParams = &node->parameters;
    return CUDA_SUCCESS;
  });
}

constexpr CallRules kInstantiate{.fail_class = "graph", .failure = CUDA_ERROR_OUT_OF_MEMORY, .unsafe_in_capture = true};

CUresult CUDAAPI cuGraphInstantiateWithFlags(CUgraphExec* to, CUgraph graph, unsigned long long flags) {
  return entry("cuGraphInstantiateWithFlags", kInstantiate, [&](State& all, auto&) {
    return instantiate(all, to, graph, flags);
  });
}

CUresult CUDAAPI cuGraphInstantiateWithParams(CUgraphExec* to, CUgraph graph, CUDA_GRAPH_INSTANTIATE_PARAMS* params) {
  return entry("cuGraphInstantiateWithParams", kInstantiate, [&](State& all, auto&) {
    if (!params) return CUDA_ERROR_INVALID_VALUE;
    params->hErrNode_out = nullptr;
    const CUresult result = instantiate(all, to, graph, params->flags);
    params->result_out = result == CUDA_SUCCESS ? CUDA_GRAPH_INSTANTIATE_SUCCESS : CUDA_GRAPH_INSTANTIATE_ERROR;
    return result;
  });
}

CUresult CUDAAPI cuGraphUpload(CUgraphExec handle, CUstream on) {
  return entry("cuGraphUpload", {}, [&](State& all, auto&) {
    const auto exec = all.execs.find(handle);
    std::shared_ptr<Stream> stream;
    if (!exec) return CUDA_ERROR_INVALID_VALUE;
    if (const CUresult result = all.resolve(on, stream); result != CUDA_SUCCESS) return result;
    exec->uploaded = true;
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuGraphLaunch(CUgraphExec handle, CUstream on) {
  constexpr CallRules kRules{.fail_class = "launch", .failure = CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES};
  return entry("cuGraphLaunch", kRules, [&](State& all, auto& lock) {
    stall(all, lock);
    if (all.lost != CUDA_SUCCESS) return all.lost;
    const auto exec = all.execs.find(handle);
    std::shared_ptr<Stream> stream;
    if (!exec) return CUDA_ERROR_INVALID_VALUE;
    if (const CUresult result = all.resolve(on, stream); result != CUDA_SUCCESS) return result;
    return launch(all, *exec, stream);
  });
}

CUresult CUDAAPI cuGraphExecDestroy(CUgraphExec handle) {
  return entry("cuGraphExecDestroy", {.after_loss = true}, [&](State& all, auto&) {
    const auto exec = all.execs.find(handle);
    if (!exec) return CUDA_ERROR_INVALID_VALUE;
    if (exec->last && !exec->last->done) all.finding("an executable graph was destroyed while it runs");
    all.execs.retire(handle);
    return CUDA_SUCCESS;
  });
}

}  // extern "C"
