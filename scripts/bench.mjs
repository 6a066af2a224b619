// `npm run bench -- [arguments]`: builds the library, what the arguments need and bench/, then runs bench/run.ts.
import { buildAllTargets, buildCuda, tiers } from "./cuda-steps.mjs";
import { buildNative, buildTypeScript, root, run, runTool } from "./steps.mjs";

const given = process.argv.slice(2);
const simulated = given.includes("--modelled") || given.includes("--traffic");
const onGpu = /--device[= ](?!cpu\b)/.test(given.join(" "));

// Figures alone go to stdout (--json), so the builds speak on stderr only when they fail.
await buildTypeScript();
if (simulated) {
  // Registers of every target, the addon with its CUDA backend, and both tiers of the simulated driver.
  process.stderr.write(`${await buildAllTargets()}\n`);
  await buildCuda(Object.values(tiers).flatMap(({ targets }) => targets));
} else if (onGpu) {
  await buildNative();
} else {
  await buildNative({ targets: ["splitwiser_bench"], options: { SPLITWISER_BENCH: "ON" } });
}
if ((await runTool("typescript:tsc", ["-p", "bench/tsconfig.json"])) !== 0) throw new Error("tsc -p bench failed");
process.exitCode = await run(process.execPath, ["build-bench/run.js", ...given], { cwd: root });
