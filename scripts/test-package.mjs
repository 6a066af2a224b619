// The slow tests of the package, test/package/*.slow.ts: packed, installed into empty folders and used; the addon by node-gyp beside cmake-js's.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { buildNative, buildTypeScript, report, root, runTap } from "./steps.mjs";

const files = readdirSync(join(root, "test/package"))
  .filter((name) => name.endsWith(".slow.ts"))
  .map((name) => `test/package/${name}`);

await report([
  [
    "package",
    async () => {
      await buildTypeScript();
      await buildNative();
      return runTap({ files, args: ["--timeout=1200", "--jobs=1"] });
    },
  ],
]);
