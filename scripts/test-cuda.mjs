// `npm run test:cuda -- [--tier=fast|checked] [--seed=N] [--static] [part of a name ...]`: the CUDA side without a GPU. Compiles the kernels for
// all six targets and looks at their code (registers, spills, PTX), then, on both tiers of the simulated driver: the simulator's own tests, the
// native tests of kernels and backend, and on the fast tier the library's tests on a simulated GPU (test/cuda/model).
// --static: the code only. Parts of names: native tests of these names only. `npm run test:cuda:long`: the full products, more seeds, and the
// property tests of the engine (test/engine) on the simulated GPU, which takes hours.
// Prints the time of each tier and ends with the counts on a line of their own.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { buildAllTargets, buildCuda, cudaTests, libraryOf, runOnTier, runSimulatorTests, tiers } from "./cuda-steps.mjs";
import { buildNative, buildTypeScript, report, root, runTap } from "./steps.mjs";

const given = process.argv.slice(2);
const value = (name) => given.find((argument) => argument.startsWith(`--${name}=`))?.slice(name.length + 3);
const unknown = given.filter((argument) => argument.startsWith("--") && !/^--(tier=(fast|checked)|seed=\d+|long|static)$/.test(argument));
if (unknown.length > 0) throw new Error(`unknown argument ${unknown.join(" ")}: expected --tier=fast, --tier=checked, --seed=N, --long, --static`);
const filters = given.filter((argument) => !argument.startsWith("--"));
// The kernels are compiled for all targets anyway: so each simulated architecture runs as the code that was made for it.
if (filters.length === 0) process.env.SPLITWISER_CUDA_ARCHS ??= "all";
const long = given.includes("--long");
const chosenTiers = Object.keys(tiers).filter((tier) => (value("tier") ?? tier) === tier);
const seeds = value("seed") !== undefined ? [Number(value("seed"))] : long ? [1, 2, 3, 4, 5] : [1];
const filesIn = (folder, ending = ".slow.ts") =>
  readdirSync(join(root, folder))
    .filter((name) => name.endsWith(ending))
    .map((name) => `${folder}/${name}`);

const code = [
  "the code of the kernels, all targets",
  async () => {
    console.log(await buildAllTargets());
    await buildNative();
    return runTap({ files: filesIn("test/cuda/static"), args: ["--timeout=300", "--jobs=1"] });
  },
];

const build = [
  "build of the simulated driver and its tests",
  async () => {
    await buildTypeScript();
    await buildCuda([...chosenTiers.flatMap((tier) => tiers[tier].targets), cudaTests]);
    return { passed: 1, failed: 0 };
  },
];

const spent = {};
/** A step whose time counts for its tier. */
const onTier = (tier, name, step) => [
  `${tier} tier: ${name}`,
  async () => {
    const began = performance.now();
    try {
      return await step();
    } finally {
      spent[tier] = (spent[tier] ?? 0) + (performance.now() - began) / 1000;
    }
  },
];
const testsOf = (tier) => [
  ...(filters.length === 0 ? [onTier(tier, "the simulator itself", () => runSimulatorTests(tier))] : []),
  ...seeds.map((seed) => onTier(tier, `kernels and backend, seed ${seed}`, () => runOnTier(tier, { seed, long, filters }))),
  ...(filters.length === 0 && long && tier === "fast"
    ? [
        onTier(tier, "the engine's property tests", () => {
          const env = { SPLITWISER_TEST_DEVICE: "cuda", SPLITWISER_CUDA_LIBRARY: libraryOf(tier) };
          return runTap({ files: filesIn("test/engine", ".test.ts"), args: ["--timeout=7200", "--jobs=2"], env });
        }),
      ]
    : []),
  ...(filters.length === 0 && (tier === "fast" || long)
    ? [
        onTier(tier, "the library", () => {
          const env = { SPLITWISER_SIMDRIVER: tiers[tier].folder, ...(long ? { SPLITWISER_TEST_LONG: "1" } : {}) };
          return runTap({ files: filesIn("test/cuda/model"), args: ["--timeout=1200", "--jobs=2"], env });
        }),
      ]
    : []),
];

const times = [
  "time of the tests",
  async () => {
    for (const [tier, seconds] of Object.entries(spent)) console.log(`${tier} tier: ${seconds.toFixed(1)} s`);
  },
];

await report([
  ...(filters.length === 0 ? [code] : []),
  ...(given.includes("--static") ? [] : [build, ...chosenTiers.flatMap(testsOf), times]),
]);
