// What the scripts of the CUDA side share: the tiers of the simulated driver, building, running its tests.
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { findNvcc } from "./nvcc.mjs";
import { buildNative, programIn, root, run, runNativeTests } from "./steps.mjs";

const build = join(root, "build");
/** fast: kernels as they are; checked: every access seen. Both run the same programs and the same kernel sources. */
export const tiers = {
  fast: { targets: ["simdriver", "simt_tests", "driver_tests"], folder: join(build, "simdriver"), own: "simt_tests" },
  checked: { targets: ["simdriver_checked", "simt_tests_checked"], folder: join(build, "simdriver-checked"), own: "simt_tests_checked" },
};
export const libraryOf = (tier) => join(tiers[tier].folder, "libcuda.so.1");

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

/** The native CUDA tests on one tier of the simulated driver: small parts, as many at a time as there are cores, 4 at most. */
export async function runOnTier(tier, options) {
  const processes = Math.min(4, availableParallelism());
  const parts = options.filters?.length > 0 ? 1 : 6 * processes;
  const total = { passed: 0, failed: 0 };
  let next = 0;
  const work = async () => {
    for (let part = next++; part < parts; part = next++) {
      const { passed, failed } = await runPart(tier, `${part}/${parts}`, options);
      total.passed += passed;
      total.failed += failed;
    }
  };
  await Promise.all(Array.from({ length: processes }, work));
  return total;
}

/** What the driver's report holds against the run is one failure. */
async function runPart(tier, part, { seed, long = false, filters = [] }) {
  const report = join(root, "build-check", `simdriver-${tier}-${seed}-${part.replace("/", "-")}.json`);
  mkdirSync(dirname(report), { recursive: true });
  rmSync(report, { force: true });
  const env = { SPLITWISER_CUDA_LIBRARY: libraryOf(tier), SIMDRIVER_SEED: String(seed), SIMDRIVER_REPORT: report, SPLITWISER_TEST_TIER: tier };
  const counts = await runNativeTests({ program: cudaTests, filters: [`--part=${part}`, ...filters], env: { ...env, ...(long ? { SPLITWISER_TEST_LONG: "1" } : {}) } });
  const findings = existsSync(report) ? (JSON.parse(readFileSync(report, "utf8")).findings ?? []) : [];
  for (const finding of findings) console.log(`  # ${typeof finding === "string" ? finding : JSON.stringify(finding)}`);
  if (findings.length > 0) counts.failed += 1;
  else counts.passed += 1;
  return counts;
}

/** The simulated driver's own tests: each detector on a planted bug, each entry point. */
export async function runSimulatorTests(tier) {
  const counts = await runNativeTests({ program: tiers[tier].own });
  if (tier !== "fast") return counts;
  const onLine = (line) => {
    const found = /^(\d+) runs of \d+ cases, (\d+) failed$/.exec(line);
    if (found === null) return;
    counts.passed += Number(found[1]) - Number(found[2]);
    counts.failed += Number(found[2]);
  };
  const folder = join(build, "simdriver-tests");
  const before = counts.failed;
  const code = await run(programIn(build, "driver_tests"), [join(folder, "libcuda.so.1"), join(folder, "driver_kernels.fatbin")], { onLine });
  if (code !== 0 && counts.failed === before) counts.failed += 1;
  return counts;
}
