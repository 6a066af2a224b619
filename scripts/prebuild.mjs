// Fills prebuilds/<platform>-<arch>/ with this machine's addon under the name that node-gyp-build looks for, debug symbols stripped, with the
// kernels of all six GPU targets (SPLITWISER_CUDA_ARCHS names fewer; without nvcc there are none, and the build says so).
// `node scripts/prebuild.mjs [FOLDER]`: the folder that gets prebuilds/; default: the project. A prebuilt addon in a clone hides later changes
// of the sources from `npm ci`, so delete it after packing.
import { copyFileSync, existsSync, mkdirSync, rmSync, statSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { buildNative, root, run } from "./steps.mjs";

const mostBytes = 16e6;
process.env.SPLITWISER_CUDA_ARCHS ??= "all";
await buildNative();
const folder = join(resolve(process.argv[2] ?? root), "prebuilds", `${process.platform}-${process.arch}`);
const libc = process.platform === "linux" ? (existsSync("/etc/alpine-release") ? ".musl" : ".glibc") : "";
const target = join(folder, `node.napi${libc}.node`);
rmSync(target, { force: true });
mkdirSync(folder, { recursive: true });
copyFileSync(join(root, "build/Release/splitwiser.node"), target);

const strip = { linux: ["--strip-unneeded"], darwin: ["-x"] }[process.platform];
if (strip !== undefined && (await run("strip", [...strip, target])) !== 0) throw new Error("strip failed");
const { size } = statSync(target);
console.log(`${relative(process.cwd(), target)}: ${(size / 1e6).toFixed(2)} MB`);
if (size > mostBytes) throw new Error(`the addon has ${(size / 1e6).toFixed(2)} MB, at most ${mostBytes / 1e6} MB: what makes the kernels so large?`);
