// Before the addon is compiled: names what is missing and the command that installs it. No dependencies: it runs at `preinstall`.
// With a prebuilt or built addon for this machine there is nothing to check.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const leastCmake = [3, 19];

function addonsIn(folder) {
  try {
    return readdirSync(join(root, folder)).filter((name) => name.endsWith(".node"));
  } catch {
    return [];
  }
}

/** A prebuilt file that node-gyp-build may choose: of this libc, where it names one. */
function hasAddon() {
  const musl = existsSync("/etc/alpine-release"); // node-gyp-build's own way to tell
  const fits = (name) => !name.includes(musl ? ".glibc." : ".musl.");
  return addonsIn("build/Release").length > 0 || addonsIn(`prebuilds/${process.platform}-${process.arch}`).some(fits);
}

function run(command, args) {
  const result = spawnSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  return { found: result.error === undefined, ok: result.status === 0, text: `${result.stdout ?? ""}${result.stderr ?? ""}` };
}

function checkCmake() {
  const { found, text } = run("cmake", ["--version"]);
  if (!found) return `CMake ${leastCmake.join(".")} or newer was not found.`;
  const version = /version (\d+)\.(\d+)/.exec(text);
  const [major, minor] = version === null ? [0, 0] : [Number(version[1]), Number(version[2])];
  if (major > leastCmake[0] || (major === leastCmake[0] && minor >= leastCmake[1])) return null;
  return `CMake ${leastCmake.join(".")} or newer is needed; this one is ${major}.${minor}.`;
}

function checkMake() {
  if (process.platform === "win32") return null; // MSBuild comes with the compiler
  const found = ["ninja", "make"].some((command) => run(command, ["--version"]).found);
  return found ? null : "Neither ninja nor make was found.";
}

function checkCompiler() {
  if (process.platform === "win32") return null; // Visual Studio is not on the PATH; cmake-js looks for it and says what it misses
  const compilers = process.env.CXX ? [process.env.CXX] : ["c++", "g++", "clang++"];
  const found = compilers.filter((command) => run(command, ["--version"]).found);
  if (found.length === 0) return `A C++20 compiler was not found (looked for ${compilers.join(", ")}).`;
  const folder = mkdtempSync(join(tmpdir(), "splitwiser-toolchain-"));
  try {
    const source = join(folder, "probe.cpp");
    writeFileSync(source, "#include <concepts>\n#include <span>\nint main() { return std::integral<int> ? 0 : 1; }\n");
    const works = found.some((command) => run(command, ["-std=c++20", "-fsyntax-only", source]).ok);
    return works ? null : `No compiler here knows C++20 (tried ${found.join(", ")}): g++ 11, clang 14 or newer is needed.`;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The command that installs all three on this system. */
function remedy() {
  if (process.platform === "darwin") return "xcode-select --install && brew install cmake ninja";
  if (process.platform === "win32") return "winget install Kitware.CMake Microsoft.VisualStudio.2022.BuildTools";
  const managers = [
    ["apt-get", "apt-get update && apt-get install -y cmake ninja-build g++", true],
    ["dnf", "dnf install -y cmake ninja-build gcc-c++", true],
    ["apk", "apk add cmake ninja g++", true],
    ["pacman", "pacman -S --needed cmake ninja gcc", true],
    ["zypper", "zypper install -y cmake ninja gcc-c++", true],
    ["brew", "brew install cmake ninja gcc", false],
  ];
  const likely = { debian: "apt-get", ubuntu: "apt-get", fedora: "dnf", rhel: "dnf", centos: "dnf", alpine: "apk", arch: "pacman", suse: "zypper" };
  let chosen;
  try {
    const release = readFileSync("/etc/os-release", "utf8");
    const ids = [.../^ID(?:_LIKE)?="?([^"\n]*)/gm[Symbol.matchAll](release)].flatMap((match) => match[1].split(/\s+/));
    chosen = ids.map((id) => likely[id]).find((manager) => manager !== undefined);
  } catch {
    // not a system with os-release: look at the commands
  }
  chosen ??= managers.map(([command]) => command).find((command) => run(command, ["--version"]).found);
  const found = managers.find(([command]) => command === chosen);
  if (found === undefined) return "install cmake, ninja and g++ with your system's package manager";
  const [, command, needsRoot] = found;
  return needsRoot && process.getuid?.() !== 0 ? command.replaceAll(/(^|&& )/g, "$1sudo ") : command;
}

if (!hasAddon()) {
  const missing = [checkCmake(), checkMake(), checkCompiler()].filter((line) => line !== null);
  if (missing.length > 0) {
    console.error(`splitwiser compiles its addon here (no prebuilt one for ${process.platform}-${process.arch} came with it), but:`);
    for (const line of missing) console.error(`  - ${line}`);
    console.error(`Install what is missing and try again:\n  ${remedy()}`);
    process.exit(1);
  }
}
