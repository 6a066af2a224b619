// `npm run bench -- [arguments]`: builds the library, the native loop and bench/, then runs bench/run.ts.
import { join } from "node:path";
import { buildNative, buildTypeScript, root, run, runTool } from "./steps.mjs";

// Figures alone go to stdout (--json), so the builds speak on stderr only when they fail.
await buildTypeScript();
await buildNative({ targets: ["splitwiser_bench"], options: { SPLITWISER_BENCH: "ON" } });
if ((await runTool("typescript:tsc", ["-p", "bench/tsconfig.json"])) !== 0) throw new Error("tsc -p bench failed");
process.exitCode = await run(process.execPath, ["build-bench/run.js", ...process.argv.slice(2)]);
