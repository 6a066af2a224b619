// What the scripts of the CUDA side share: the tiers of the simulated driver, building, running its tests.
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { findNvcc } from "./nvcc.mjs";
import { buildNative, root, run, runNativeTests } from "./steps.mjs";

/** fast: kernels as they are; checked: every access seen. Both run the same program and the same kernel sources. */
export const tiers = {
  fast: { target: "simdriver", library: join(root, "build/simdriver/libcuda.so.1") },
  checked: { target: "simdriver_checked", library: join(root, "build/simdriver-checked/libcuda.so.1") },
};

export const cudaTests = "splitwiser_cuda_tests";

/** Throws with the remedy where there is no CUDA toolkit: without nvcc these tests can't be built. */
export async function buildCuda(targets) {
  const { nvcc, reason } = findNvcc();
  if (nvcc === undefined) throw new Error(`the CUDA side can't be built: ${reason}`);
  await buildNative({ targets, options: { SPLITWISER_TESTS: "ON", SPLITWISER_CUDA: "ON" } });
}

/** The kernels of all six targets, in build-kernels/all; says how long nvcc took. */
export async function buildAllTargets() {
  const { nvcc, reason } = findNvcc();
  if (nvcc === undefined) throw new Error(`the kernels can't be compiled, and nothing was looked at: ${reason}`);
  const began = performance.now();
  const code = await run(process.execPath, ["scripts/kernels.mjs", "build", "build-kernels/all"], { env: { SPLITWISER_CUDA_ARCHS: "all" } });
  if (code !== 0) throw new Error("compiling the kernels failed");
  const { files } = JSON.parse(readFileSync(join(root, "build-kernels/all/kernels.json"), "utf8"));
  const sum = (name) => files.reduce((total, file) => total + file[name], 0);
  const now = ((performance.now() - began) / 1000).toFixed(1);
  return `six targets: ${now} s now, ${sum("seconds").toFixed(0)} s of nvcc when each file was compiled, ${(sum("bytes") / 1e6).toFixed(2)} MB`;
}

/** The native CUDA tests on one tier of the simulated driver. What its report holds against the run is one failure. */
export async function runOnTier(tier, { seed, long = false, filters = [] }) {
  const report = join(root, "build-check", `simdriver-${tier}-${seed}.json`);
  mkdirSync(dirname(report), { recursive: true });
  rmSync(report, { force: true });
  const env = { SPLITWISER_CUDA_LIBRARY: tiers[tier].library, SIMDRIVER_SEED: String(seed), SIMDRIVER_REPORT: report, SPLITWISER_TEST_TIER: tier };
  const counts = await runNativeTests({ program: cudaTests, filters, env: { ...env, ...(long ? { SPLITWISER_TEST_LONG: "1" } : {}) } });
  const findings = existsSync(report) ? (JSON.parse(readFileSync(report, "utf8")).findings ?? []) : [];
  for (const finding of findings) console.log(`  # ${typeof finding === "string" ? finding : JSON.stringify(finding)}`);
  if (findings.length > 0) counts.failed += 1;
  else counts.passed += 1;
  return counts;
}
