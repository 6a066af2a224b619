// The model behind `npm run bench -- --modelled`, by hand. The device is one with round numbers.
import t, { type Test } from "tap";
import { publishedClass } from "../../bench/cuda/gpu.js";
import { deviceClasses, type DeviceClass } from "../../bench/cuda/device-classes.js";
import { floorSeconds, kernelTime, residentBlocks, type LaunchCounts } from "../../bench/cuda/kernel-time.js";
import { attendedBytes, decodeSteps, nameLaunches, prefillSteps, type TraceGrid } from "../../bench/cuda/steps.js";
import { trafficRow } from "../../bench/cuda/traffic.js";
import { gemmParts, needsOf, stepFloorBytes } from "../../bench/cuda/tiling.js";

/** 0.92e12 bytes/s at best, 0.5 us of latency (1 us loaded), 0.8e12 FLOP/s an SM, 3.2e12 bytes/s from L2. */
const round: DeviceClass = {
  name: "round",
  arch: 80,
  sms: 10,
  clockHz: 1e10,
  bandwidth: 1e12,
  latencyClocks: 5000,
  l2Bytes: 1e6,
  tensorFlops: 1e13,
  limits: { threads: 1024, blocks: 8, registers: 65536, sharedBytes: 120_000, reservedBytes: 0 },
};

const launch = (changes: Partial<LaunchCounts>): LaunchCounts => ({
  kernel: "k",
  grid: 10,
  threads: 128,
  sharedBytes: 100_000,
  registers: 32,
  inGraph: true,
  units: 10,
  unitsPerBlock: 1,
  memoryBytes: 0,
  requestedBytes: 0,
  asyncBytes: 0,
  mma: 0,
  ...changes,
});
const moving = (bytes: number): Partial<LaunchCounts> => ({ memoryBytes: bytes, requestedBytes: bytes, asyncBytes: bytes });
const microseconds = (changes: Partial<LaunchCounts>): number => 1e6 * kernelTime(launch(changes), round).seconds;
const near = (t: Test, value: number, wanted: number): void => void t.ok(Math.abs(value - wanted) < 1e-6 * wanted, `${value} is ${wanted}`);

t.test("a launch without work costs its gap and a latency", (t) => {
  near(t, microseconds({}), 1.5);
  near(t, microseconds({ inGraph: false }), 3);
  t.equal(kernelTime(launch({}), round).bound, "launch");
  t.end();
});

t.test("enough bytes in flight reach the bandwidth, too few do not", (t) => {
  // 10 blocks x 100,000 bytes in 1 us: 1e12 bytes/s, more than the 0.92e12 that the memory gives.
  near(t, microseconds(moving(9.2e6)), 1.5 + 10);
  t.equal(kernelTime(launch(moving(9.2e6)), round).bound, "memory");
  // A tenth of it in flight: 1e11 bytes/s.
  near(t, microseconds({ ...moving(9.2e6), sharedBytes: 10_000 }), 1.5 + 92);
  t.equal(kernelTime(launch({ ...moving(9.2e6), sharedBytes: 10_000 }), round).bound, "latency");
  // Loads to registers: 128 threads x 64 bytes x 10 blocks.
  near(t, microseconds({ ...moving(8.192e5), asyncBytes: 0 }), 1.5 + 10);
  t.end();
});

t.test("a block has no more bytes in flight than its work has", (t) => {
  // 10 x 1,000 bytes: all on their way at once, one loaded latency.
  near(t, microseconds(moving(10_000)), 1.5 + 1);
  t.end();
});

t.test("a short last turn is slower than its share", (t) => {
  // 15 units on 10 places: 10 at full bandwidth, then 5 with half of the bytes in flight, 5e11 bytes/s.
  const each = 9.2e6 / 15;
  near(t, microseconds({ ...moving(9.2e6), units: 15 }), 1.5 + (10 * each) / 0.92e6 + (5 * each) / 0.5e6);
  near(t, kernelTime(launch({ ...moving(9.2e6), units: 15 }), round).turns, 1.5);
  t.end();
});

t.test("matrix instructions cost the SM that has the most of them", (t) => {
  // 1,000 x 4,096 FLOP at 0.8e12: 5.12 us. One unit more takes a turn of its own.
  near(t, microseconds({ mma: 10_000 }), 1.5 + 5.12);
  near(t, microseconds({ mma: 11_000, units: 11 }), 1.5 + 2 * 5.12);
  t.equal(kernelTime(launch({ mma: 10_000 }), round).bound, "tensor");
  // 5 units on 5 SMs are no faster.
  near(t, microseconds({ mma: 5_000, units: 5, grid: 5 }), 1.5 + 5.12);
  t.end();
});

t.test("bytes that are asked for again come from L2", (t) => {
  near(t, microseconds({ ...moving(9.2e5), requestedBytes: 3.2e7 }), 1.5 + 10);
  t.equal(kernelTime(launch({ ...moving(9.2e5), requestedBytes: 3.2e7 }), round).bound, "L2");
  t.end();
});

t.test("warps with work of their own share a block's memory", (t) => {
  // 40 units, 4 a block: one turn, 25,000 bytes in flight each.
  near(t, microseconds({ ...moving(9.2e6), units: 40, unitsPerBlock: 4 }), 1.5 + 10);
  t.end();
});

t.test("blocks on an SM: the least of threads, blocks, registers, shared memory", (t) => {
  const h100 = deviceClasses.find(({ name }) => name === "H100")!;
  const ada = deviceClasses.find(({ name }) => name === "RTX 4090")!;
  t.equal(residentBlocks(h100, { threads: 256, registers: 64, sharedBytes: 0 }), 4);
  t.equal(residentBlocks(h100, { threads: 128, registers: 168, sharedBytes: 0 }), 3);
  t.equal(residentBlocks(h100, { threads: 32, registers: 32, sharedBytes: 0 }), 32);
  t.equal(residentBlocks(h100, { threads: 1024, registers: 32, sharedBytes: 0 }), 2);
  t.equal(residentBlocks(h100, { threads: 128, registers: 32, sharedBytes: 72 * 1024 }), 3);
  t.equal(residentBlocks(ada, { threads: 128, registers: 32, sharedBytes: 72 * 1024 }), 1);
  t.equal(residentBlocks(ada, { threads: 128, registers: 32, sharedBytes: 120 * 1024 }), 0);
  t.throws(() => kernelTime(launch({ sharedBytes: 200_000 }), round), /not one block/);
  t.end();
});

t.test("what OPT-125M's launches need", (t) => {
  t.same([768, 2304, 3072].map((m) => gemmParts(m, 768)), [8, 8, 8]);
  t.same([gemmParts(50272, 768), gemmParts(4096, 4096), gemmParts(768, 128)], [1, 4, 2]);
  const decode = { phase: "decode", rows: 1, context: 512 } as const;
  const one = { threads: 256, inGraph: false, rows: 1 } as const;
  const upward = needsOf({ ...one, role: "up", kernel: "gemm_narrow8_f16", grid: 192 }, decode);
  // 192 blocks of 16 rows read 1,536 bytes of each, and the one token each; 3,072 biases and results.
  t.match(upward, { units: 192, asyncBytes: 4_718_592 + 192 * 1536, streamedBytes: 4_718_592, mma: 192 * 48 });
  t.equal(upward.requestedBytes - upward.asyncBytes, 3072 * 4 + 3072 * 2);
  t.equal(upward.compulsoryBytes, 4_718_592 + 1536 + 3072 * 4 + 3072 * 2);
  const attention = (context: number) => needsOf({ ...one, role: "attention", kernel: "a", grid: 12 }, { ...decode, context });
  t.match(attention(512), { units: 12, streamedBytes: 12 * 512 * 256, mma: 12 * 8 * 64 });
  t.match(attention(513), { units: 24, streamedBytes: 12 * 513 * 256, mma: 12 * 9 * 64 });
  // Two splits: two queries and an output, 2 x 68 floats written, 2 x 16 x 32 bytes for the fold; 24 units of 396 bytes of arrays each and
  // 48 searches of 140 in vain, 9 leaves of 128.
  t.equal(attention(513).requestedBytes - attention(513).streamedBytes, 12 * (128 * 3 + 2 * 68 * 4 + 1024) + 24 * 396 + 48 * 140 + 12 * 9 * 128);
  const block = needsOf({ ...one, role: "attention", kernel: "attention_decode_block_f16_d64", grid: 12 }, decode);
  t.match(block, { units: 12, unitsPerBlock: 1, asyncBytes: 12 * 512 * 256, mma: 12 * 8 * 64 });
  // A query and an output; 12 units of 4 warps that find their work, 8 leaves of 512 bytes, 48 warps that find nothing more.
  t.equal(block.requestedBytes - block.streamedBytes, 12 * 128 * 2 + 48 * 396 + 12 * 8 * 512 + 48 * 140);
  // In a graph each thread asks for the number of real rows.
  const inGraph = needsOf({ ...one, inGraph: true, role: "up", kernel: "gemm_narrow8_f16", grid: 192 }, decode);
  t.equal(inGraph.requestedBytes - upward.requestedBytes, 4 * 192 * 256);
  // 100 blocks for the 192 tiles, each with the norm's 6,144 bytes and the token.
  const normed = needsOf({ ...one, role: "up", kernel: "gemm_normed8_f16", grid: 100 }, decode);
  t.match(normed, { units: 192, asyncBytes: 4_718_592 + 100 * 1536, compulsoryBytes: upward.compulsoryBytes + 6144 });
  t.equal(normed.requestedBytes - normed.asyncBytes, 3072 * 4 + 3072 * 2 + 100 * 6144);
  // 128 tokens in a tile: 256 threads keep 8 biases each, not 2,048.
  const wide = needsOf({ ...one, rows: 128, role: "up", kernel: "gemm_wide_parts_f16", grid: 24 }, decode);
  t.equal(wide.requestedBytes - wide.asyncBytes, 24 * 256 * 32 + 128 * 3072 * 2);
  t.equal(stepFloorBytes(decode), 247_087_104 + 18_874_368);
  near(t, floorSeconds({ bytes: 1e6, flops: 0 }, round), 1e-6);
  near(t, floorSeconds({ bytes: 1e6, flops: 1e8 }, round), 1e-5);
  t.equal(stepFloorBytes({ phase: "prefill", rows: 512, context: 512 }), stepFloorBytes(decode));
  t.throws(() => needsOf({ ...one, role: "up", kernel: "gemm_other_f16", grid: 1 }, decode), /does not know the tile/);
  t.end();
});

t.test("a prefill's tiles read the keys up to their own end", (t) => {
  const step = { phase: "prefill", rows: 100, context: 100 } as const;
  const need = needsOf({ role: "attention", kernel: "a", grid: 24, threads: 128, inGraph: false, rows: 100 }, step);
  t.match(need, { units: 24, asyncBytes: 12 * 256 * (64 + 100), mma: 12 * 4 * 64 * (1 + 2) });
  t.end();
});

const grid = (kernel: string, graph: boolean, counters: TraceGrid["counters"] = {}): TraceGrid => ({
  kernel,
  graph,
  begin: 0,
  blocks: 12,
  threads: 128,
  shared_bytes: 0,
  counters,
});
const layer = (attention: string, graph: boolean): TraceGrid[] =>
  ["norm_f16", "gemm_narrow8_f16", "kv_write_f16_f16", attention, "gemm_narrow8_f16", "norm_f16", "gemm_narrow8_f16", "gemm_narrow8_f16"].map((kernel) =>
    grid(kernel, graph, kernel.startsWith("attention") ? { async_copy_bytes: 100 } : {}),
  );
const ends = (graph: boolean): TraceGrid[] => ["norm_f16", "gemm_narrow8_f16", "sample"].map((kernel) => grid(kernel, graph));
const oneDecode = [
  grid("step_feed", true),
  grid("embed_f16", true),
  ...layer("attention_decode_f16_d64", true),
  ...layer("attention_decode_f16_d64", true),
  ...ends(true),
  grid("step_advance", true),
];
const onePrefill = [grid("embed_f16", false), ...layer("attention_prefill_f16_d64", false), ...layer("attention_prefill_f16_d64", false), ...ends(false)];

t.test("steps are found in the record and their launches named", (t) => {
  const trace = [...onePrefill, ...oneDecode, ...oneDecode];
  t.equal(prefillSteps(trace).length, 1);
  t.equal(decodeSteps(trace).length, 2);
  t.equal(attendedBytes(decodeSteps(trace)[0]!), 200);
  const step = nameLaunches(oneDecode, { phase: "decode", rows: 1, context: 512 });
  t.match(step, { kernelsPerLayer: 8, simulatedLayers: 2, kernels: 12 * 8 + 6 });
  t.same(
    step.launches.filter(({ kernel }) => kernel.startsWith("gemm")).map(({ role, times }) => `${role} ${times}`),
    ["qkv 11", "out 11", "up 11", "down 11", "qkv 1", "out 1", "up 1", "down 1", "head 1"],
  );
  t.throws(() => nameLaunches(oneDecode.slice(0, 9), { phase: "decode", rows: 1, context: 512 }), /4 matrix products a layer/);
  t.end();
});

t.test("a byte that is copied twice, or a sector too many, shows in the traffic", (t) => {
  const step = nameLaunches(oneDecode, { phase: "decode", rows: 1, context: 512 });
  const up = step.launches.find(({ role }) => role === "up")!;
  const { compulsoryBytes, requestedBytes, asyncBytes, mma } = needsOf(up, step);
  const counters = { unique_load_sectors: compulsoryBytes / 32, global_load_bytes: requestedBytes, async_copy_bytes: asyncBytes, mma };
  const seen = (changes: TraceGrid["counters"]) => trafficRow({ ...up, trace: { ...up.trace, counters: { ...counters, ...changes } } }, step);
  t.match(seen({}), { unique: 1, requested: 1, streamed: 1, mma: 1, conflicts: { copies: 0, matrices: 0, plain: 0 } });
  t.ok(seen({ async_copy_bytes: 2 * asyncBytes }).streamed! > 2);
  t.ok(seen({ unique_load_sectors: compulsoryBytes / 16 }).unique! > 1.99);
  t.match(seen({ ldmatrix_conflicts: 3, mma: 2 * mma }), { mma: 2, conflicts: { matrices: 3 } });
  t.end();
});

t.test("only a GPU that is read back as the published one gets its limits", (t) => {
  const h100 = { name: "NVIDIA H100 80GB HBM3", arch: "sm_90", sms: 132, memoryBytes: 80e9 };
  t.equal(publishedClass(h100)?.name, "H100");
  t.equal(publishedClass({ ...h100, name: "NVIDIA H100 PCIe", sms: 114 }), null);
  t.equal(publishedClass({ ...h100, name: "NVIDIA H200" }), null);
  t.equal(publishedClass({ name: "NVIDIA A100-SXM4-40GB", arch: "sm_80", sms: 108, memoryBytes: 40e9 }), null);
  t.end();
});
