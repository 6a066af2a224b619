// The code that nvcc makes of kernels/*.cu, for all six targets. `npm run test:cuda` compiles it into build-kernels/all first.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { root } from "../../helpers/paths.js";
import { imagesOf, kernelsIn } from "./fatbin.js";
import type { PtxKernel } from "./ptx-rules.js";
import { readPtx } from "./ptx-rules.js";

interface Resources {
  registers: number;
  spillStores: number;
  spillLoads: number;
  stack: number;
  shared: number;
}
interface Report {
  archs: number[];
  files: { file: string; fatbin: string; bytes: number; kernels: Record<string, Record<string, Resources>> }[];
}

const archs = [80, 86, 89, 90, 100, 120];
const registersOfSm = 65536;
const file = join(root, "build-kernels/all/kernels.json");
if (!existsSync(file)) throw new Error(`${file} is not there: \`npm run test:cuda\` makes it (it needs nvcc 13)`);
const report = JSON.parse(readFileSync(file, "utf8")) as Report;

/** A kernel's launch bounds and instructions, from the PTX inside the fatbin: of sm_80, and of sm_90 and later, whose kernels wait by themselves. */
const ptxKernels = new Map<string, PtxKernel>();
const waitingKernels = new Map<string, PtxKernel>();
const images = report.files.map(({ file, fatbin }) => ({ file, images: imagesOf(readFileSync(fatbin)) }));

t.test("every fatbin holds all six targets and PTX for what comes later", async (t) => {
  t.ok(images.length > 0, `${images.length} files`);
  t.same(report.archs, archs);
  for (const { file, images: found } of images) {
    t.same(found.filter(({ kind }) => kind === "cubin").map(({ arch }) => arch), archs, `${file}: cubins`);
    t.same(found.filter(({ kind }) => kind === "ptx").map(({ arch }) => arch), [80, 90], `${file}: PTX`);
  }
});

t.test("the PTX keeps the rules on bits and memory", async (t) => {
  for (const { file, images: found } of images) {
    for (const { arch, bytes } of found.filter(({ kind }) => kind === "ptx")) {
      const { kernels, offences } = readPtx(new TextDecoder().decode(bytes));
      const all = arch === 80 ? ptxKernels : waitingKernels;
      t.ok(kernels.length > 0, `${file}, PTX of sm_${arch}: ${kernels.length} kernels`);
      t.same(offences.slice(0, 20), [], `${file}, PTX of sm_${arch}: no offence, ${offences.length} found`);
      for (const kernel of kernels) {
        t.notOk(all.has(kernel.name), `${kernel.name} has one definition`);
        all.set(kernel.name, kernel);
        if (arch !== 80) continue;
        t.ok(kernel.threads > 0 && kernel.threads <= 1024 && kernel.threads % 32 === 0, `${kernel.name}: ${kernel.threads} threads`);
        t.ok(kernel.parameterBytes > 0 && kernel.parameterBytes <= 4096, `${kernel.name}: ${kernel.parameterBytes} bytes of parameters`);
      }
    }
  }
});

t.test("from sm_90 on a kernel waits for the one before it, and is the same otherwise", async (t) => {
  t.same([...waitingKernels.keys()].sort(), [...ptxKernels.keys()].sort());
  const touchesMemory = /^(ld|st|red|atom|cp)\.(?!param|async\.(commit|wait))|^(ldmatrix|prefetch)/;
  const computes = /\.(f16|f16x2|bf16|bf16x2|f32|f64)$|^(mma|shfl|redux|ex2)/;
  for (const [name, kernel] of waitingKernels) {
    const wait = kernel.instructions.indexOf("griddepcontrol.wait");
    t.ok(wait >= 0 && !kernel.instructions.slice(0, wait).some((one) => touchesMemory.test(one)), `${name}: waits before it touches memory`);
    t.equal(kernel.instructions.filter((one) => one === "griddepcontrol.wait").length, 1, `${name}: once`);
    const before = ptxKernels.get(name)?.instructions ?? [];
    t.notOk(before.some((one) => one.startsWith("griddepcontrol")), `${name}: not on sm_80`);
    t.same(kernel.instructions.filter((one) => computes.test(one)), before.filter((one) => computes.test(one)), `${name}: the same arithmetic`);
  }
});

t.test("the sources' kernels, for nvcc and for the simulated device, are in every cubin", async (t) => {
  for (const { file, images: found } of images) {
    const args = ["-x", "c++", "-E", "-std=c++20", "-Ikernels", "-Itest/simdriver", join("kernels", file)];
    const preprocessed = spawnSync(process.env["CXX"] ?? "c++", args, { cwd: root, encoding: "utf8", maxBuffer: 1 << 28 });
    t.equal(preprocessed.status, 0, `${file} is C++ for the simulated device: ${preprocessed.stderr.slice(0, 500)}`);
    const names = [...new Set([...preprocessed.stdout.matchAll(/\bsimt_enter_(\w+)/g)].map((match) => match[1] ?? ""))].sort();
    t.ok(names.length > 0, `${file}: ${names.length} kernels`);
    for (const { kind, arch, bytes } of found) if (kind === "cubin") t.same(kernelsIn(bytes), names, `${file}, sm_${arch}`);
    t.same(names.filter((name) => !ptxKernels.has(name)), [], `${file}: PTX`);
  }
});

t.test("no kernel spills, uses a stack or asks for more registers than a block may have", async (t) => {
  for (const { file, kernels } of report.files) {
    for (const [name, targets] of Object.entries(kernels)) {
      t.same(Object.keys(targets).map(Number), archs, `${name} in ${file}: ptxas says what it uses on every target`);
      const { threads = 0, blocks = 1 } = ptxKernels.get(name) ?? {};
      for (const [arch, { registers, spillStores, spillLoads, stack, shared }] of Object.entries(targets)) {
        const what = `${name}, sm_${arch}`;
        t.same({ spillStores, spillLoads, stack }, { spillStores: 0, spillLoads: 0, stack: 0 }, `${what}: no local memory`);
        const allocated = Math.ceil(registers / 8) * 8; // a warp's registers come in units of 256
        const asked = allocated * threads * blocks;
        t.ok(registers > 0 && asked <= registersOfSm, `${what}: ${allocated} registers x ${threads} threads x ${blocks} blocks = ${asked}`);
        t.ok(shared <= 48 * 1024 && shared % 16 === 0, `${what}: ${shared} bytes of static shared memory`);
      }
    }
  }
});

t.test("kernels of 16-bit matrices use the tensor cores as they are meant to be used", async (t) => {
  const has = ({ instructions }: PtxKernel, pattern: RegExp): boolean => instructions.some((instruction) => pattern.test(instruction));
  const matrices = [...ptxKernels.values()].filter(({ name }) => /^(gemm|attention_prefill)/.test(name) && /f16/.test(name));
  t.ok(matrices.length > 0, `${matrices.length} kernels`);
  for (const kernel of matrices) {
    t.ok(has(kernel, /^mma\.sync\.aligned\.m16n8k16/), `${kernel.name}: mma`);
    t.ok(has(kernel, /^ldmatrix\.sync/), `${kernel.name}: ldmatrix`);
    t.ok(has(kernel, /^cp\.async\.cg\.shared\.global/), `${kernel.name}: cp.async of 16 bytes`);
  }
});
