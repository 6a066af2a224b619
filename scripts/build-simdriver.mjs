// `npm run build:simdriver`: the simulated driver, build/simdriver/libcuda.so.1 and build/simdriver-checked/libcuda.so.1 (instrumented).
// Then: SPLITWISER_CUDA_LIBRARY=build/simdriver/libcuda.so.1 npx splitwiser generate --device cuda ...
import { relative } from "node:path";
import { buildCuda, libraryOf, tiers } from "./cuda-steps.mjs";
import { root } from "./steps.mjs";

await buildCuda(["simdriver", "simdriver_checked"]);
for (const tier of Object.keys(tiers)) console.log(relative(root, libraryOf(tier)));
