// The GPUs that times are modelled for, in published numbers. Nothing here was measured by this project.
//
// Sources. SMs, boost clocks, memory bandwidth, dense f16 tensor rates with f32 sums, L2 sizes: NVIDIA A100 80GB SXM data sheet and
// GA100 whitepaper; H100 SXM5 data sheet and GH100 whitepaper; Ada (AD102) whitepaper for the RTX 4090; HGX B200 data sheet, its SM count
// from Chips and Cheese, "Nvidia's B200". What an SM holds: CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".
// Memory latency in clocks and the share of the tensor rate that mma.sync reaches on Hopper: "Benchmarking and Dissecting the Nvidia
// Hopper GPU Architecture", arXiv 2402.13499 (466, 479 and 542 clocks on A100, H100 and RTX 4090; mma about 63 % of the dense rate).

/** What a multiprocessor holds at once. */
export interface SmLimits {
  threads: number;
  blocks: number;
  registers: number;
  sharedBytes: number;
  /** Taken of each block's shared memory by the system. */
  reservedBytes: number;
}

export interface DeviceClass {
  name: string;
  /** Compute capability x 10. */
  arch: 80 | 89 | 90 | 100;
  sms: number;
  clockHz: number;
  /** Bytes/s of the memory's pins. */
  bandwidth: number;
  /** Of a load that goes to memory, when nothing else is under way. */
  latencyClocks: number;
  l2Bytes: number;
  /** FLOP/s of mma.sync, f16 with f32 sums, dense. */
  tensorFlops: number;
  limits: SmLimits;
}

const kib = 1024;
const large = (sharedKib: number): SmLimits => ({ threads: 2048, blocks: 32, registers: 65536, sharedBytes: sharedKib * kib, reservedBytes: kib });

/** Of the dense rate, which wgmma reaches and mma.sync does not. */
const hopperMmaShare = 0.629;
const h100Flops = hopperMmaShare * 989.4e12;

export const deviceClasses: readonly DeviceClass[] = [
  {
    name: "A100",
    arch: 80,
    sms: 108,
    clockHz: 1.41e9,
    bandwidth: 2039e9,
    latencyClocks: 466,
    l2Bytes: 40 * kib * kib,
    tensorFlops: 312e12,
    limits: large(164),
  },
  {
    name: "H100",
    arch: 90,
    sms: 132,
    clockHz: 1.83e9,
    bandwidth: 3350e9,
    latencyClocks: 479,
    l2Bytes: 50 * kib * kib,
    tensorFlops: h100Flops,
    limits: large(228),
  },
  {
    name: "RTX 4090",
    arch: 89,
    sms: 128,
    clockHz: 2.52e9,
    bandwidth: 1008e9,
    latencyClocks: 542,
    l2Bytes: 72 * kib * kib,
    tensorFlops: 165.2e12,
    limits: { threads: 1536, blocks: 24, registers: 65536, sharedBytes: 100 * kib, reservedBytes: kib },
  },
  {
    name: "B200",
    arch: 100,
    sms: 148,
    clockHz: 1.96e9,
    bandwidth: 8000e9,
    // Not published: as on H100.
    latencyClocks: 479,
    l2Bytes: 126 * kib * kib,
    // Of mma.sync (not tcgen05) nothing is published: as fast for each SM and clock as on H100.
    tensorFlops: (h100Flops * 148 * 1.96) / (132 * 1.83),
    limits: large(228),
  },
];
