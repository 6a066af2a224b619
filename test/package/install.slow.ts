// The tarball, installed into an empty folder: with a prebuilt addon and no compiler in reach, and without one, compiling.
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { ended, npm, root, run, runNode } from "./npm.js";
import { emptyProject, pack } from "./stage.js";
import { useInEveryWay } from "./use.js";

/** Outside the project: nothing above it offers its node_modules. */
function outside(t: Tap): string {
  const folder = mkdtempSync(join(tmpdir(), "splitwiser-package-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
type Tap = typeof t;

/** A PATH with Node and a shell, and nothing that compiles. */
function barePath(folder: string): string {
  const bin = join(folder, "bin");
  mkdirSync(bin, { recursive: true });
  symlinkSync(process.execPath, join(bin, "node"));
  symlinkSync("/bin/sh", join(bin, "sh"));
  return bin;
}

const install = (project: string, tarball: string, path?: string): ReturnType<typeof npm> =>
  npm(["install", tarball, "--no-audit", "--no-fund", "--prefer-offline"], path === undefined ? { cwd: project } : { cwd: project, path });

t.test("with a prebuilt addon it installs without a compiler and works from every kind of module", async (t) => {
  const folder = outside(t as Tap);
  const tarball = pack({ folder, prebuilt: true });
  const { size } = statSync(tarball);
  t.ok(size <= 30e6, `the tarball with an addon for all GPUs has ${(size / 1e6).toFixed(1)} MB`);
  const project = emptyProject(folder);
  const path = barePath(folder);
  const installed = install(project, tarball, path);
  t.equal(installed.code, 0, ended(installed, "it installs"));
  t.notOk(existsSync(join(project, "node_modules/splitwiser/build")), "nothing was compiled");
  useInEveryWay(t, project);

  const command = join(project, "node_modules/.bin/splitwiser");
  const generated = run(command, ["generate", "--ids", "2,5,6", "--max-tokens", "3", "--json"], { cwd: project, path });
  t.equal(generated.code, 0, ended(generated, "the command runs"));
  t.doesNotThrow(() => JSON.parse(generated.stdout) as unknown, "--json prints one JSON document");
});

t.test("without one it compiles its addon and works", async (t) => {
  const folder = outside(t as Tap);
  const tarball = pack({ folder, prebuilt: false });
  const bare = emptyProject(join(folder, "bare"));
  const refused = install(bare, tarball, barePath(folder));
  t.not(refused.code, 0, "without a compiler the install fails");
  t.match(refused.stderr + refused.stdout, /A C\+\+20 compiler was not found/, "and says what is missing");

  const project = emptyProject(folder);
  const installed = install(project, tarball);
  t.equal(installed.code, 0, ended(installed, "it installs"));
  t.ok(existsSync(join(project, "node_modules/splitwiser/build/Release/splitwiser.node")), "the addon was compiled");
  useInEveryWay(t, project);
});

t.test("publint and attw find nothing to mend", async (t) => {
  const tarball = pack({ folder: outside(t as Tap), prebuilt: false });
  const publint = runNode([join(root, "node_modules/publint/src/cli.js"), "run", tarball, "--strict"]);
  t.equal(publint.code, 0, ended(publint, "publint"));
  const attw = runNode([join(root, "node_modules/@arethetypeswrong/cli/dist/index.js"), tarball, "--profile", "esm-only"]);
  t.equal(attw.code, 0, ended(attw, "attw"));
});
