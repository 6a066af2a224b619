// The addon by node-gyp, into build-gyp/build/Release: in a folder of its own, because `node-gyp rebuild` wipes build/.
import { copyFileSync, existsSync, mkdirSync, symlinkSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { root, runTool } from "./steps.mjs";

const folder = join(root, "build-gyp");
mkdirSync(folder, { recursive: true });
for (const file of ["binding.gyp", "package.json"]) copyFileSync(join(root, file), join(folder, file));
for (const name of ["native", "kernels", "scripts"]) {
  if (!existsSync(join(folder, name))) symlinkSync(join(root, name), join(folder, name), "junction");
}

// Headers lie beside the Node that runs this: nothing is downloaded. On Windows node.exe stands at the prefix itself.
const prefix = process.platform === "win32" ? dirname(process.execPath) : dirname(dirname(process.execPath));
const args = ["configure", "build", `--directory=${folder}`, `--jobs=${availableParallelism()}`];
if (existsSync(join(prefix, "include/node/node_api.h"))) args.push(`--nodedir=${prefix}`);
process.exitCode = await runTool("node-gyp", args);
