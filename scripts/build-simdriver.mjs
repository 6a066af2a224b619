// `npm run build:simdriver`: the simulated driver, build/simdriver/libcuda.so.1 and build/simdriver-checked/libcuda.so.1 (instrumented).
// Then: SPLITWISER_CUDA_LIBRARY=build/simdriver/libcuda.so.1 npx splitwiser generate --device cuda ...
import { buildCuda, tiers } from "./cuda-steps.mjs";
import { root } from "./steps.mjs";
import { relative } from "node:path";

await buildCuda(["simdriver", "simdriver_checked"]);
for (const { library } of Object.values(tiers)) console.log(relative(root, library));
