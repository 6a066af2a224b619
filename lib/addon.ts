// Finds and loads the native addon when it is first needed. No top-level await: the library must work by require() too.
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { messageOf, SplitwiserError } from "./errors.js";
import type { NativeAddon } from "./native.js";

/** The package's folder: dist/ lies in it. */
export const packageRoot = dirname(dirname(fileURLToPath(import.meta.url)));

let loaded: NativeAddon | undefined;

/** Throws `ADDON_NOT_FOUND` with what was tried and the remedy. */
export function loadAddon(): NativeAddon {
  loaded ??= loadFrom(packageRoot);
  return loaded;
}

interface NodeGypBuild {
  /** Path of the binary for this platform; throws when there is none. */
  path(folder: string): string;
}

/** Only for tests: without the cache. */
export function loadFrom(root: string): NativeAddon {
  const require = createRequire(import.meta.url);
  const finder = require("node-gyp-build") as NodeGypBuild;
  let path: string;
  try {
    path = finder.path(root);
  } catch (error) {
    throw notFound(root, error);
  }
  try {
    return require(path) as NativeAddon;
  } catch (error) {
    throw new SplitwiserError(
      "ADDON_NOT_FOUND",
      `the native addon ${path} is there but cannot be loaded on ${platformText()}: ${messageOf(error)}\n${remedy(root)}`,
      { cause: error },
    );
  }
}

function libc(): string | undefined {
  if (process.platform !== "linux") return undefined;
  // node-gyp-build looks at the same file, so the message agrees with what was searched.
  return existsSync("/etc/alpine-release") ? "musl" : "glibc";
}

function platformText(): string {
  return [process.platform, process.arch, libc(), `node ${process.versions.node}`].filter((part) => part !== undefined).join(" ");
}

function notFound(root: string, cause: unknown): SplitwiserError {
  const tried = [
    join(root, "build", "Release"),
    join(root, "build", "Debug"),
    join(root, "prebuilds", `${process.platform}-${process.arch}`),
  ];
  return new SplitwiserError(
    "ADDON_NOT_FOUND",
    `the native addon was not found for ${platformText()}. Tried *.node in ${tried.join(", ")}.\n${remedy(root)}`,
    { cause },
  );
}

function remedy(root: string): string {
  const inDependencies = root.split(/[\\/]/).includes("node_modules");
  const build = inDependencies
    ? "run `npm rebuild splitwiser` (with install scripts allowed)"
    : "run `npm install` in the clone, or `npx cmake-js compile`";
  return `To build it, install a C++20 compiler and CMake (${compilerCommand()}), then ${build}.`;
}

function compilerCommand(): string {
  switch (process.platform) {
    case "linux":
      return libc() === "musl"
        ? "`apk add build-base cmake`"
        : "`apt-get install g++ make cmake` on Debian and Ubuntu, `dnf install gcc-c++ make cmake` on Fedora";
    case "darwin":
      return "`xcode-select --install` and `brew install cmake`";
    case "win32":
      return '`winget install Microsoft.VisualStudio.2022.BuildTools` with "Desktop development with C++"';
    default:
      return "from your system's packages";
  }
}
