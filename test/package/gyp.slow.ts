// binding.gyp is real: it builds the same addon from the same sources.
import { createRequire } from "node:module";
import { join } from "node:path";
import t from "tap";
import { ended, npm, root } from "./npm.js";

t.test("the addon of node-gyp exports what the addon of cmake-js exports", async (t) => {
  const built = npm(["run", "build:gyp"]);
  t.equal(built.code, 0, ended(built, "it builds"));
  const require = createRequire(import.meta.url);
  const names = (folder: string): string[] => Object.keys(require(join(root, folder, "splitwiser.node")) as object).sort();
  const byCmake = names("build/Release");
  t.ok(byCmake.length > 0, byCmake.join(", "));
  t.same(names("build-gyp/build/Release"), byCmake);
});
