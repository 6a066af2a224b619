// `npm run test:gpu -- [part of a name ...]`: the native CUDA tests on a real GPU, by the system's own driver: the litmus tests of rules that
// no one could verify without hardware first, then the others. Needs a GPU (compute capability 8.0 or newer), a driver 580 or newer, nvcc 13.
import { spawnSync } from "node:child_process";
import { buildCuda, cudaTests } from "./cuda-steps.mjs";
import { report, runNativeTests } from "./steps.mjs";

const gpus = spawnSync("nvidia-smi", ["--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader"], { encoding: "utf8" });
const found = gpus.status === 0 ? gpus.stdout.trim() : "";
const filters = process.argv.slice(2);
// Empty: the system's libcuda.so.1, even where the shell still names the simulated one.
const env = { SPLITWISER_CUDA_LIBRARY: "", SPLITWISER_TEST_TIER: "gpu" };
const tests = (names) => () => runNativeTests({ program: cudaTests, filters: names, env });

if (found === "") {
  console.error(
    "There is no GPU here: nvidia-smi " +
      (gpus.error !== undefined ? "was not found" : `says: ${`${gpus.stdout}${gpus.stderr}`.trim().split("\n")[0]}`) +
      ". test:gpu needs one, with driver 580 or newer; `npm run test:cuda` runs the same tests on the simulated driver.",
  );
  console.log("0 passed, 1 failed");
  process.exitCode = 1;
} else {
  console.log(found);
  await report([
    [
      "build",
      async () => {
        await buildCuda([cudaTests]);
        return { passed: 1, failed: 0 };
      },
    ],
    ...(filters.length === 0 ? [["litmus", tests(["litmus"])]] : []),
    ["native CUDA tests", tests(filters)],
  ]);
}
