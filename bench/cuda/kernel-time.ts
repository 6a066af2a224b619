// A kernel's modelled time. One page of arithmetic, so that whoever doubts a figure can do it by hand:
//
//   time = gap + latency + sum over turns of max(memory, L2, tensor)
//
// A launch is cut into `units` that are alike (tiles of a GEMM, splits of an attention, blocks of anything else). `slots` of them run at
// once: SMs x resident blocks x units a block, but never more than the grid has. Units go in turns of `slots`; the last turn may be short
// (the tail), and a short turn is slower than its share, because fewer bytes are on their way.
//
//   memory of a turn of b units = bytes / min(bandwidth, b x bytes in flight of a unit / loaded latency)     (Little's law)
//   L2 of a turn                = bytes asked for / L2 bandwidth
//   tensor of a turn            = FLOP of the SM with the most units / its share of the tensor peak
//
// What is left out makes the model optimistic: arithmetic outside of the tensor cores, barriers, waits inside a unit (a norm reads, waits
// for all of its row, then writes), conflicts, clocks below boost.
import type { DeviceClass } from "./device-classes.js";

export const assumptions = {
  /** Between the end of a kernel and the start of the next one: nodes of a graph, and plain launches (cuda-rules.md: 2 to 3 us). */
  graphGapSeconds: 1.0e-6,
  launchGapSeconds: 2.5e-6,
  /** Of the pins' bandwidth and of the tensor peak, at best. */
  bandwidthShare: 0.92,
  tensorShare: 0.8,
  /** Latency of memory under load, over that of an idle memory. */
  loadedLatency: 2,
  /** Bytes that an SM takes from L2 in a clock. */
  l2BytesPerClock: 32,
  /** Bytes on their way for a thread that loads to registers: four loads of 16 bytes. */
  bytesPerThread: 64,
} as const;

export interface LaunchCounts {
  kernel: string;
  grid: number;
  threads: number;
  /** Of a block, static and dynamic. */
  sharedBytes: number;
  /** Of a thread. */
  registers: number;
  inGraph: boolean;
  /** Equal pieces of work, at least 1; and how many of them a block has at once. */
  units: number;
  unitsPerBlock: number;
  /** Bytes that must come from or go to memory. */
  memoryBytes: number;
  /** Bytes that threads ask for: they come from L2. */
  requestedBytes: number;
  /** Of requestedBytes, those copied by cp.async: the shared memory of a block holds what is on its way. */
  asyncBytes: number;
  /** m16n8k16, of a warp. */
  mma: number;
}

export type Bound = "launch" | "latency" | "memory" | "L2" | "tensor";

export interface ModelledTime {
  seconds: number;
  /** What takes the most of it. "latency": memory, but too few bytes are on their way for its bandwidth. */
  bound: Bound;
  /** Blocks that a multiprocessor holds. */
  resident: number;
  /** Turns, the short one counted as a part. */
  turns: number;
  /** Of the device's bandwidth, that a full turn can reach. */
  reach: number;
}

const mmaFlops = 2 * 16 * 8 * 16;

/** Registers go to warps in units of 256, shared memory in units of 128 bytes (the occupancy calculator's rules). */
export function residentBlocks(device: DeviceClass, launch: Pick<LaunchCounts, "threads" | "registers" | "sharedBytes">): number {
  const { limits } = device;
  const warps = Math.ceil(launch.threads / 32);
  const registers = warps * 256 * Math.ceil((launch.registers * 32) / 256);
  const shared = 128 * Math.ceil((launch.sharedBytes + limits.reservedBytes) / 128);
  const byThreads = Math.floor(limits.threads / (warps * 32));
  const byRegisters = registers === 0 ? limits.blocks : Math.floor(limits.registers / registers);
  return Math.max(0, Math.min(limits.blocks, byThreads, byRegisters, Math.floor(limits.sharedBytes / shared)));
}

/** Bytes that one unit has on their way, at most its own. */
function bytesInFlight(launch: LaunchCounts): number {
  const ring = (launch.asyncBytes > 0 ? launch.sharedBytes : assumptions.bytesPerThread * launch.threads) / launch.unitsPerBlock;
  return Math.min(ring, launch.requestedBytes / launch.units);
}

export function kernelTime(launch: LaunchCounts, device: DeviceClass): ModelledTime {
  const resident = residentBlocks(device, launch);
  if (resident === 0) throw new Error(`${launch.kernel}: not one block fits a multiprocessor of ${device.name}`);
  const slots = launch.unitsPerBlock * Math.min(launch.grid, device.sms * resident);
  const peak = assumptions.bandwidthShare * device.bandwidth;
  const latency = device.latencyClocks / device.clockHz;
  const loaded = assumptions.loadedLatency * latency;
  const l2 = assumptions.l2BytesPerClock * device.sms * device.clockHz;
  const flopsPerSm = (assumptions.tensorShare * device.tensorFlops) / device.sms;
  const inFlight = bytesInFlight(launch);
  const per = (amount: number): number => amount / launch.units;
  const reached = (units: number): number => Math.min(peak, (units * inFlight) / loaded);

  const parts: Record<Exclude<Bound, "launch">, number> = { latency: 0, memory: 0, L2: 0, tensor: 0 };
  let running = 0;
  const turn = (units: number, times: number): void => {
    if (units === 0 || times === 0) return;
    const memory = launch.memoryBytes === 0 ? 0 : (units * per(launch.memoryBytes)) / reached(units);
    const fromL2 = (units * per(launch.requestedBytes)) / l2;
    const tensor = (Math.ceil(units / device.sms) * per(launch.mma) * mmaFlops) / flopsPerSm;
    const most = Math.max(memory, fromL2, tensor);
    running += times * most;
    const word = most === tensor && tensor > 0 ? "tensor" : most === fromL2 && fromL2 > memory ? "L2" : reached(units) < peak ? "latency" : "memory";
    parts[word] += times * most;
  };
  const full = Math.floor(launch.units / slots);
  turn(Math.min(slots, launch.units), full);
  turn(launch.units - full * slots, 1);

  const fixed = (launch.inGraph ? assumptions.graphGapSeconds : assumptions.launchGapSeconds) + latency;
  const longest = (Object.keys(parts) as (keyof typeof parts)[]).reduce((a, b) => (parts[b] > parts[a] ? b : a));
  return {
    seconds: fixed + running,
    bound: fixed >= running ? "launch" : longest,
    resident,
    turns: launch.units / slots,
    reach: reached(Math.min(slots, launch.units)) / device.bandwidth,
  };
}

/** The least that a step can take: its bytes once through the memory's pins, or its FLOP at the tensor cores' peak. */
export function floorSeconds({ bytes, flops }: { bytes: number; flops: number }, device: DeviceClass): number {
  return Math.max(bytes / device.bandwidth, flops / device.tensorFlops);
}
