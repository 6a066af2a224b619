// `npm run test:cuda -- [--tier=fast|checked] [--seed=N] [--static] [part of a name ...]`: the CUDA side without a GPU. Builds the kernels for
// all six targets and looks at their code (registers, spills, PTX), then runs the native CUDA tests on both tiers of the simulated driver.
// --static: the first half only; parts of names: the second half only, those tests. `npm run test:cuda:long` runs the full products and more
// seeds. Ends with the counts on a line of their own.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { buildAllTargets, buildCuda, cudaTests, runOnTier, tiers } from "./cuda-steps.mjs";
import { buildNative, report, root, runTap } from "./steps.mjs";

const given = process.argv.slice(2);
const value = (name) => given.find((argument) => argument.startsWith(`--${name}=`))?.slice(name.length + 3);
const unknown = given.filter((argument) => argument.startsWith("--") && !/^--(tier=(fast|checked)|seed=\d+|long|static)$/.test(argument));
if (unknown.length > 0) throw new Error(`unknown argument ${unknown.join(" ")}: expected --tier=fast, --tier=checked, --seed=N, --long, --static`);
const filters = given.filter((argument) => !argument.startsWith("--"));
const long = given.includes("--long");
const chosenTiers = Object.keys(tiers).filter((tier) => (value("tier") ?? tier) === tier);
const seeds = value("seed") !== undefined ? [Number(value("seed"))] : long ? [1, 2, 3, 4, 5] : [1];

const spent = {};
const onTier = (tier, seed) => [
  `native CUDA tests, ${tier} tier, seed ${seed}`,
  async () => {
    const began = performance.now();
    const counts = await runOnTier(tier, { seed, long, filters });
    spent[tier] = (spent[tier] ?? 0) + (performance.now() - began) / 1000;
    return counts;
  },
];

const staticFiles = readdirSync(join(root, "test/cuda/static"))
  .filter((name) => name.endsWith(".slow.ts"))
  .map((name) => `test/cuda/static/${name}`);
const code = [
  "the code of the kernels, all targets",
  async () => {
    console.log(await buildAllTargets());
    await buildNative();
    return runTap({ files: staticFiles, args: ["--timeout=300", "--jobs=1"] });
  },
];
const simulated = [
  [
    "build of the simulated driver and its tests",
    async () => {
      await buildCuda([...chosenTiers.map((tier) => tiers[tier].target), cudaTests]);
      return { passed: 1, failed: 0 };
    },
  ],
  ...chosenTiers.flatMap((tier) => seeds.map((seed) => onTier(tier, seed))),
  [
    "time of the tests",
    async () => {
      for (const [tier, seconds] of Object.entries(spent)) console.log(`${tier} tier: ${seconds.toFixed(1)} s`);
    },
  ],
];
await report([...(filters.length === 0 ? [code] : []), ...(given.includes("--static") ? [] : simulated)]);
