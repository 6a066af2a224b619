// What may not stand in the PTX of a kernel, line by line: the rules on bits (every f32 operation rounds once, in a written order) and on
// memory (no spills, no read-only loads but those that kernels/ptx.cuh names).
export interface Offence {
  kernel: string;
  line: string;
  rule: string;
}

/** Approximate instructions that kernels may have. Equal arguments give equal results, whoever computes them. */
export const allowedApproximations = new Map([
  ["ex2.approx.ftz.f32", "ptx::exp2_approx, and inside tanhf and erff"],
  ["rcp.approx.ftz.f32", "inside tanhf"],
]);

/** The read-only load of ptx.cuh; the compiler's own have no cache hint. */
const namedReadOnlyLoad = "ld.global.nc.L1::no_allocate.v4.u32";

const arithmetic = /^(mul|add|sub|mad|fma|div|sqrt|rcp|rsqrt)(\.[\w:]+)*\.(f32|f64|f32x2|f16|f16x2|bf16|bf16x2)$/;

function ruleOf(instruction: string, operands: string): string | null {
  if (/\.approx\b/.test(instruction)) {
    return allowedApproximations.has(instruction) ? null : "an approximate instruction that is not listed";
  }
  if (arithmetic.test(instruction)) {
    if (!/\.rn\b/.test(instruction)) return "floating-point arithmetic without .rn: ptxas might fuse it";
    if (/\.ftz\b/.test(instruction)) return "arithmetic that flushes subnormal numbers";
  }
  if (/^(atom|red)\b.*\.(f16|f16x2|bf16|bf16x2|f32|f64)$/.test(instruction)) return "a floating-point atomic: its order is chance";
  if (/^(ld|st)\.local\b|^\.local\b/.test(instruction) || /__local_depot/.test(operands)) return "local memory";
  if (/^ld(\.\w+)*\.nc\b/.test(instruction) && instruction !== namedReadOnlyLoad) return "a read-only load that no function of ptx.cuh asked for";
  if (/^(tex|tld4|suld|sust|sured)\b/.test(instruction)) return "a texture or surface";
  return null;
}

export interface PtxKernel {
  name: string;
  threads: number;
  blocks: number;
  parameterBytes: number;
  instructions: string[];
}

/** The kernels of a PTX text, and what offends in it. */
export function readPtx(ptx: string): { kernels: PtxKernel[]; offences: Offence[] } {
  const kernels: PtxKernel[] = [];
  const offences: Offence[] = [];
  let current: PtxKernel | undefined;
  for (const raw of ptx.split("\n")) {
    const line = raw.trim();
    const entry = /^(?:\.visible |\.weak )?\.entry (\w+)/.exec(line);
    if (entry !== null) {
      current = { name: entry[1] ?? "", threads: 0, blocks: 1, parameterBytes: 0, instructions: [] };
      kernels.push(current);
    }
    if (current !== undefined) {
      const parameter = /^\.param \.align \d+ \.b8 \w+\[(\d+)\]/.exec(line);
      if (parameter !== null) current.parameterBytes += Number(parameter[1]);
      current.threads = Number(/^\.maxntid (\d+)/.exec(line)?.[1] ?? current.threads);
      current.blocks = Number(/^\.minnctapersm (\d+)/.exec(line)?.[1] ?? current.blocks);
    }
    const found = /^(?:@!?%\w+ )?([.a-z][\w.:]*)\s*(.*)$/.exec(line);
    if (found === null) continue;
    const [, instruction = "", operands = ""] = found;
    current?.instructions.push(instruction);
    const rule = ruleOf(instruction, operands);
    if (rule !== null) offences.push({ kernel: current?.name ?? "", line, rule });
  }
  return { kernels, offences };
}
