// What a user without a compiler reads.
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { root, runNode } from "./npm.js";

/** A package folder with the check alone in it; gives the path of the check. */
function lonelyPackage(folder: string): string {
  mkdirSync(join(folder, "scripts"), { recursive: true });
  const check = join(folder, "scripts/toolchain.mjs");
  copyFileSync(join(root, "scripts/toolchain.mjs"), check);
  return check;
}

t.test("missing tools are named with the command that installs them", async (t) => {
  const folder = t.testdir();
  const ran = runNode([lonelyPackage(folder)], { path: folder });
  t.equal(ran.code, 1);
  t.match(ran.stderr, /CMake 3\.19 or newer was not found/);
  t.match(ran.stderr, /Neither ninja nor make was found/);
  t.match(ran.stderr, /A C\+\+20 compiler was not found/);
  t.match(ran.stderr, /Install what is missing and try again:\n {2}\S+/);
});

t.test("an old CMake is named with its version", async (t) => {
  if (process.platform === "win32") return void t.pass("needs a shell");
  const folder = t.testdir();
  writeFileSync(join(folder, "cmake"), "#!/bin/sh\necho cmake version 3.10.2\n", { mode: 0o755 });
  t.match(runNode([lonelyPackage(folder)], { path: folder }).stderr, /CMake 3\.19 or newer is needed; this one is 3\.10\./);
});

t.test("with an addon for this machine no tool is needed", async (t) => {
  const places = ["build/Release/splitwiser.node", `prebuilds/${process.platform}-${process.arch}/node.napi.node`];
  for (const place of places) {
    const folder = t.testdir({});
    const check = lonelyPackage(folder);
    mkdirSync(join(folder, place, ".."), { recursive: true });
    writeFileSync(join(folder, place), "");
    const ran = runNode([check], { path: folder });
    t.equal(ran.code, 0, `${place}: ${ran.stderr}`);
  }
});

t.test("with all tools there is nothing to say", async (t) => {
  const folder = t.testdir();
  const ran = runNode([lonelyPackage(folder)]);
  t.same([ran.code, ran.stdout, ran.stderr], [0, "", ""]);
});
