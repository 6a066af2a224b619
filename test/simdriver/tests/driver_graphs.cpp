// Graphs: capture, its rules, launches.
#include <atomic>
#include <thread>

#include "driver_test.hpp"

using namespace simdriver_test;

namespace {

constexpr unsigned kCount = 2048;

struct Scene : Device {
  CUdeviceptr x = new_memory(kCount * sizeof(float));
  CUstream a = new_stream(), b = new_stream();
  CUevent fork = nullptr, join = nullptr;
  CUgraph graph = nullptr;
  CUgraphExec exec = nullptr;

  Scene() {
    OK(CU(cuEventCreate)(&fork, CU_EVENT_DISABLE_TIMING));
    OK(CU(cuEventCreate)(&join, CU_EVENT_DISABLE_TIMING));
    for (const CUkernel kernel : {scale, meet}) {
      CUfunction function = nullptr;
      OK(CU(cuKernelGetFunction)(&function, kernel));
    }
    OK(CU(cuMemsetD32)(x, 0, kCount));
  }
  CUresult run(CUstream stream, float factor, float addend, unsigned offset = 0, unsigned count = kCount) {
    Scale params{reinterpret_cast<float*>(x) + offset, count, factor, addend};
    return launch(scale, stream, &params);
  }
  // x = x * 2 + 1 in the lower half, x * 3 + 1 in the upper, the halves side by side; then all + 1.
  void capture() {
    OK(CU(cuStreamBeginCapture)(a, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    OK(CU(cuEventRecord)(fork, a));
    OK(CU(cuStreamWaitEvent)(b, fork, 0));
    OK(run(a, 2, 1, 0, kCount / 2));
    OK(run(b, 3, 1, kCount / 2, kCount / 2));
    OK(CU(cuEventRecord)(join, b));
    OK(CU(cuStreamWaitEvent)(a, join, 0));
    OK(run(a, 1, 1));
    OK(CU(cuStreamEndCapture)(a, &graph));
    OK(CU(cuGraphInstantiateWithFlags)(&exec, graph, CUDA_GRAPH_INSTANTIATE_FLAG_USE_NODE_PRIORITY));
  }
  std::vector<float> values() {
    std::vector<float> got(kCount);
    OK(CU(cuMemcpyDtoH)(got.data(), x, kCount * sizeof(float)));
    return got;
  }
};

// Whatever was captured is gone, and the stream can be used.
void ends_badly(Scene& scene, CUresult expected) {
  CUgraph graph = nullptr;
  EXPECT(CU(cuStreamEndCapture)(scene.a, &graph), expected);
  CHECK(graph == nullptr);
  OK(scene.run(scene.a, 1, 0));
  OK(CU(cuStreamSynchronize)(scene.a));
}

}  // namespace

CASE(a_captured_graph_runs_as_often_as_it_is_launched,
     {{{"SIMDRIVER_SEED", "1"}}, {{"SIMDRIVER_SEED", "2"}}, {{"SIMDRIVER_SEED", "3"}, {"SIMDRIVER_SMS", "1"}}}) {
  Scene scene;
  scene.capture();
  CHECK(scene.values()[0] == 0);  // nothing has run
  std::size_t count = 0;
  OK(CU(cuGraphGetNodes)(scene.graph, nullptr, &count));
  CHECK(count == 3);
  std::vector<CUgraphNode> nodes(count);
  OK(CU(cuGraphGetNodes)(scene.graph, nodes.data(), &count));
  CUDA_KERNEL_NODE_PARAMS params{};
  OK(CU(cuGraphKernelNodeGetParams)(nodes[0], &params));
  CHECK(params.ctx == scene.context && params.kern == scene.scale && params.blockDimX == 64);
  OK(CU(cuGraphUpload)(scene.exec, scene.a));
  OK(CU(cuGraphDestroy)(scene.graph));
  for (int i = 0; i < 3; ++i) OK(CU(cuGraphLaunch)(scene.exec, scene.a));
  OK(CU(cuStreamSynchronize)(scene.a));
  const auto got = scene.values();
  CHECK(got[0] == 14 && got[kCount / 2 - 1] == 14);
  CHECK(got[kCount / 2] == 26 && got[kCount - 1] == 26);
  const std::string json = report();
  CHECK(json.find("\"graph_launches\":3,\"graph_nodes\":9,\"programmatic_nodes\":0,") != std::string::npos);
  CHECK(json.find("\"late_uploads\":0") != std::string::npos);
  CHECK(findings() == 0);
  OK(CU(cuGraphExecDestroy)(scene.exec));
}

// The attribute that lets a kernel begin before the one in front of it has ended.
CASE(only_kernels_that_wait_may_begin_beside_the_one_before, {{{"SIMDRIVER_ARCH", "90"}}, {{"SIMDRIVER_ARCH", "80"}}, {{"SIMDRIVER_ARCH", "100"}}}) {
  Scene scene;
  Scale params{reinterpret_cast<float*>(scene.x), kCount, 2, 1};
  const auto beside = [&] {
    CUlaunchAttribute attribute{};
    attribute.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
    attribute.value.programmaticStreamSerializationAllowed = 1;
    CUlaunchConfig config{};
    config.gridDimX = 2, config.blockDimX = 64;
    config.gridDimY = config.gridDimZ = config.blockDimY = config.blockDimZ = 1;
    config.hStream = scene.a;
    config.attrs = &attribute, config.numAttrs = 1;
    void* parameters[] = {&params};
    OK(CU(cuLaunchKernelEx)(&config, reinterpret_cast<CUfunction>(scene.scale), parameters, nullptr));
  };
  OK(CU(cuStreamBeginCapture)(scene.a, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  FINDS(beside());  // nothing is before it
  // The fatbin has code of sm_80 and sm_90, and PTX of sm_80 for the rest, which does not wait.
  if (setting("SIMDRIVER_ARCH") == 90) {
    const auto before = findings();
    beside();
    CHECK(findings() == before);
  } else {
    FINDS(beside());
  }
  OK(CU(cuStreamEndCapture)(scene.a, &scene.graph));
  OK(CU(cuGraphInstantiateWithFlags)(&scene.exec, scene.graph, 0));
  OK(CU(cuGraphLaunch)(scene.exec, scene.a));
  OK(CU(cuStreamSynchronize)(scene.a));
  CHECK(scene.values()[0] == 3);
  CHECK(report().find("\"graph_nodes\":2,\"programmatic_nodes\":2,") != std::string::npos);
}

CASE(a_running_exec_is_not_launched_elsewhere) {
  Scene scene;
  scene.capture();
  const CUdeviceptr flags = new_memory(256);
  OK(CU(cuMemsetD8)(flags, 0, 256));
  auto* const word = reinterpret_cast<std::uint32_t*>(flags);
  Meet held{word, word + 32}, free{word + 32, word};
  OK(launch(scene.meet, scene.a, &held, 1, 32));  // keeps the graph from ending
  OK(CU(cuGraphLaunch)(scene.exec, scene.a));
  const auto before = findings();
  OK(CU(cuGraphLaunch)(scene.exec, scene.a));  // the same stream: in order anyway
  CHECK(findings() == before);
  FINDS(OK(CU(cuGraphLaunch)(scene.exec, scene.b)));
  FINDS(OK(CU(cuGraphExecDestroy)(scene.exec)));
  OK(launch(scene.meet, new_stream(), &free, 1, 32));
  OK(CU(cuCtxSynchronize)());
  CHECK(scene.values()[0] == 14);  // three launches, one after the other
}

CASE(unsafe_calls_end_a_capture) {
  Scene scene;
  CUdeviceptr at = 0;
  OK(CU(cuStreamBeginCapture)(scene.a, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  FINDS(EXPECT(CU(cuMemAlloc)(&at, 4096), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED));
  EXPECT(scene.run(scene.a, 1, 1), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  ends_badly(scene, CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);

  OK(CU(cuStreamBeginCapture)(scene.a, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  FINDS(EXPECT(CU(cuEventSynchronize)(scene.fork), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED));
  ends_badly(scene, CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);

  // In thread-local mode another thread may do what it likes; in global mode it may not.
  for (const auto mode : {CU_STREAM_CAPTURE_MODE_THREAD_LOCAL, CU_STREAM_CAPTURE_MODE_GLOBAL}) {
    const bool local = mode == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
    OK(CU(cuStreamBeginCapture)(scene.a, mode));
    std::thread([&] {
      OK(CU(cuCtxPushCurrent)(scene.context));
      EXPECT(CU(cuMemAlloc)(&at, 4096), local ? CUDA_SUCCESS : CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    }).join();
    if (!local) {
      ends_badly(scene, CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
      continue;
    }
    OK(CU(cuStreamEndCapture)(scene.a, &scene.graph));
    OK(CU(cuGraphDestroy)(scene.graph));
  }
}

CASE(captures_keep_to_themselves) {
  Scene scene;
  OK(CU(cuEventRecord)(scene.fork, scene.b));
  OK(CU(cuStreamBeginCapture)(scene.a, CU_STREAM_CAPTURE_MODE_RELAXED));
  EXPECT(CU(cuStreamBeginCapture)(scene.a, CU_STREAM_CAPTURE_MODE_RELAXED), CUDA_ERROR_ILLEGAL_STATE);
  FINDS(EXPECT(CU(cuStreamWaitEvent)(scene.a, scene.fork, 0), CUDA_ERROR_STREAM_CAPTURE_ISOLATION));
  ends_badly(scene, CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);

  // A stream that was drawn in and not joined.
  OK(CU(cuStreamBeginCapture)(scene.a, CU_STREAM_CAPTURE_MODE_RELAXED));
  OK(scene.run(scene.a, 1, 0));
  OK(CU(cuEventRecord)(scene.fork, scene.a));
  OK(CU(cuStreamWaitEvent)(scene.b, scene.fork, 0));
  OK(scene.run(scene.b, 1, 0));
  CUgraph graph = nullptr;
  EXPECT(CU(cuStreamEndCapture)(scene.b, &graph), CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
  FINDS(ends_badly(scene, CUDA_ERROR_STREAM_CAPTURE_UNJOINED));
  EXPECT(CU(cuStreamWaitEvent)(scene.b, scene.fork, 0), CUDA_ERROR_CAPTURED_EVENT);

  // Waiting for what captures.
  OK(CU(cuStreamBeginCapture)(scene.a, CU_STREAM_CAPTURE_MODE_RELAXED));
  FINDS(EXPECT(CU(cuStreamSynchronize)(scene.a), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED));
  ends_badly(scene, CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);

  // The legacy stream would wait for a blocking stream that captures.
  const CUstream blocking = new_stream(CU_STREAM_DEFAULT);
  OK(CU(cuStreamBeginCapture)(blocking, CU_STREAM_CAPTURE_MODE_RELAXED));
  FINDS(EXPECT(scene.run(nullptr, 1, 0), CUDA_ERROR_STREAM_CAPTURE_IMPLICIT));
  EXPECT(CU(cuStreamEndCapture)(blocking, &graph), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
}

// A kernel that no one has loaded would be loaded in the capture.
CASE(kernels_are_loaded_before_a_capture) {
  Device device;
  const CUstream stream = new_stream();
  OK(CU(cuStreamBeginCapture)(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
  Scale params{nullptr, 0, 0, 0};
  FINDS(OK(launch(device.scale, stream, &params)));
  CUgraph graph = nullptr;
  OK(CU(cuStreamEndCapture)(stream, &graph));
}

// Nodes keep the SMs of the context that they were captured in, whichever stream launches them.
CASE(nodes_keep_their_partition, {{{"SIMDRIVER_ARCH", "80"}, {"SIMDRIVER_SMS", "8"}}}) {
  Scene scene;
  CUdevResource all{}, group{}, rest{};
  unsigned groups = 1;
  OK(CU(cuDeviceGetDevResource)(0, &all, CU_DEV_RESOURCE_TYPE_SM));
  OK(CU(cuDevSmResourceSplitByCount)(&group, &groups, &all, &rest, 0, 4));
  CUdevResourceDesc descriptor = nullptr;
  CUgreenCtx green = nullptr;
  OK(CU(cuDevResourceGenerateDesc)(&descriptor, &rest, 1));
  OK(CU(cuGreenCtxCreate)(&green, descriptor, 0, CU_GREEN_CTX_DEFAULT_STREAM));
  CUstream stream = nullptr;
  OK(CU(cuGreenCtxStreamCreate)(&stream, green, CU_STREAM_NON_BLOCKING, 0));
  CUcontext context = nullptr;
  OK(CU(cuCtxFromGreenCtx)(&context, green));
  OK(CU(cuCtxPushCurrent)(context));
  CUfunction function = nullptr;
  OK(CU(cuKernelGetFunction)(&function, scene.scale));
  OK(CU(cuCtxPopCurrent)(nullptr));
  OK(CU(cuStreamBeginCapture)(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  Scale scale_params{reinterpret_cast<float*>(scene.x), kCount, 1, 1};
  OK(launch(scene.scale, stream, &scale_params, 64));  // enough blocks for every SM
  OK(CU(cuStreamEndCapture)(stream, &scene.graph));
  CUgraphNode node = nullptr;
  std::size_t count = 1;
  OK(CU(cuGraphGetNodes)(scene.graph, &node, &count));
  CUDA_KERNEL_NODE_PARAMS params{};
  OK(CU(cuGraphKernelNodeGetParams)(node, &params));
  CHECK(params.ctx == context);
  OK(CU(cuGraphInstantiateWithFlags)(&scene.exec, scene.graph, 0));
  OK(CU(cuGraphLaunch)(scene.exec, scene.a));
  OK(CU(cuStreamSynchronize)(scene.a));
  const std::string json = report(), partition = "\"sms\":[4,5,6,7],\"used\":[";
  const std::size_t at = json.find(partition);
  CHECK(at != std::string::npos && json[at + partition.size()] >= '4');  // the least SM that a block ran on
}
