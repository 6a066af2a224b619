// `npm test`: builds what is not built, then lint, types, native tests and tap. With files or other arguments for tap
// (`npm test -- test/engine/fork.test.ts --grep=pages`) only these run, after the same build.
import { buildNative, buildTypeScript, asCheck, report, runNativeTests, runTap, runTool, run, root } from "./steps.mjs";

const chosen = process.argv.slice(2);
const build = async () => {
  await buildTypeScript();
  await buildNative({ targets: ["splitwiser_tests"], options: { SPLITWISER_TESTS: "ON" } });
  return { passed: 1, failed: 0 };
};
const types = async (project) => asCheck(await runTool("typescript:tsc", ["-p", project, "--noEmit"]));

await report(
  chosen.length > 0
    ? [
        ["build", build],
        ["tap", () => runTap({ args: chosen })],
      ]
    : [
        ["build", build],
        ["house rules", async () => asCheck(await run(process.execPath, ["scripts/house.mjs"], { cwd: root }))],
        ["eslint", async () => asCheck(await runTool("eslint", ["."]))],
        ["types of the tests", () => types("test/tsconfig.json")],
        ["types of the bench", () => types("bench/tsconfig.json")],
        ["native tests", () => runNativeTests()],
        ["tap", () => runTap()],
      ],
);
