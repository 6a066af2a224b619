// What the other scripts share: running commands, building, running tests and counting.
import { spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
const require = createRequire(import.meta.url);

/**
 * Runs a command in the project's folder; resolves to its exit code, 128 after a signal. Its output goes to `output`: "inherit", "ignore" or
 * "stderr" (of this process, for builds: stdout belongs to results). `onLine` gets each line of its standard output as well. After
 * `timeoutMs` the command is ended.
 */
export function run(command, args, { cwd = root, env = {}, onLine, output = "inherit", timeoutMs } = {}) {
  return new Promise((resolve, reject) => {
    const stdout = onLine !== undefined ? "pipe" : output === "stderr" ? 2 : output;
    const child = spawn(command, args, {
      cwd,
      env: { ...process.env, ...env },
      timeout: timeoutMs,
      killSignal: "SIGKILL",
      stdio: ["ignore", stdout, output === "ignore" ? "ignore" : "inherit"],
    });
    let rest = "";
    child.stdout?.setEncoding("utf8").on("data", (text) => {
      if (output !== "ignore") process.stdout.write(text);
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) onLine?.(line);
    });
    child.on("error", (error) => {
      reject(error.code === "ENOENT" ? new Error(`${command} was not found. \`node scripts/toolchain.mjs\` says what to install.`) : error);
    });
    child.on("close", (code) => {
      if (rest !== "") onLine?.(rest);
      resolve(code ?? 128);
    });
  });
}

/** The script behind a package's command. */
export function commandOf(name, command = name) {
  const file = require.resolve(`${name}/package.json`);
  const { bin } = JSON.parse(readFileSync(file, "utf8"));
  return join(dirname(file), typeof bin === "string" ? bin : bin[command]);
}

/** The same as run() for a command of a package in node_modules: "name" or "name:command". */
export function runTool(tool, args, options) {
  return run(process.execPath, [commandOf(...tool.split(":")), ...args], options);
}

async function must(code, what) {
  if ((await code) !== 0) throw new Error(`${what} failed`);
}

const parallel = { CMAKE_BUILD_PARALLEL_LEVEL: String(availableParallelism()) };

export async function buildTypeScript({ cwd = root, output = "stderr" } = {}) {
  await must(runTool("typescript:tsc", ["-p", "tsconfig.json"], { cwd, output }), "tsc");
  // npx makes the command executable once for each path, and this file may be newer than that.
  chmodSync(join(cwd, "dist/cli/main.js"), 0o755);
}

/** The addon in build/Release, and further targets from the same objects. */
export async function buildNative({ cwd = root, targets = [], options = {}, output = "stderr" } = {}) {
  // "build", not "compile": that one answers a compile error by deleting build/ and failing again.
  await must(runTool("cmake-js", ["build"], { cwd, env: parallel, output }), "building the addon");
  if (targets.length > 0) await buildTargets({ cwd, folder: join(cwd, "build"), targets, options, output });
}

/** Targets of a CMake folder, configured anew only when an option differs. */
export async function buildTargets({ cwd = root, folder, targets, options = {}, output = "stderr" }) {
  const cacheFile = join(folder, "CMakeCache.txt");
  const cache = existsSync(cacheFile) ? readFileSync(cacheFile, "utf8") : "";
  const same = cache !== "" && Object.entries(options).every(([name, value]) => new RegExp(`^${name}:[A-Z]+=${value}$`, "m").test(cache));
  if (!same) {
    const generator = cache === "" && (await hasNinja()) ? ["-G", "Ninja"] : [];
    const definitions = Object.entries(options).map(([name, value]) => `-D${name}=${value}`);
    await must(run("cmake", ["-S", cwd, "-B", folder, ...generator, ...definitions], { cwd, output }), "configuring");
  }
  const args = ["--build", folder, "--config", "Release", "--target", ...targets];
  await must(run("cmake", args, { cwd, env: parallel, output }), `building ${targets.join(", ")}`);
}

async function hasNinja() {
  try {
    return (await run("ninja", ["--version"], { output: "ignore" })) === 0;
  } catch {
    return false;
  }
}

/** A program that a CMake folder built. */
export const programIn = (folder, name) => join(folder, "bin", process.platform === "win32" ? `${name}.exe` : name);

// Tests of the CPU are the same where there is a GPU; those of the CUDA side name their driver themselves.
const withoutGpu = { SPLITWISER_CUDA_LIBRARY: process.env.SPLITWISER_CUDA_LIBRARY ?? "none" };

/** Runs the native tests; a crash counts as one failure, and so do tests that were planned and never ran. */
export async function runNativeTests({ cwd = root, folder = join(cwd, "build"), program = "splitwiser_tests", filters = [], env, ...options } = {}) {
  let passed = 0;
  let failed = 0;
  let planned = 0;
  const code = await run(programIn(folder, program), filters, {
    ...options,
    env: { ...withoutGpu, ...env },
    cwd,
    onLine: (line) => {
      if (line.startsWith("ok ")) passed += 1;
      if (line.startsWith("not ok ")) failed += 1;
      const plan = /^1\.\.(\d+)$/.exec(line);
      if (plan !== null) planned = Number(plan[1]);
    },
  });
  if (passed + failed < planned) failed += 1;
  if (code !== 0 && failed === 0) failed = 1;
  return { passed, failed };
}

/**
 * Runs tap on files (all tests when there are none), prints failures and one line for each file, and counts assertions.
 * `failures` holds the names of what failed, inner tests included.
 */
export async function runTap({ cwd = root, files = [], args = [], output = "inherit", env, ...options } = {}) {
  const raw = join(cwd, "build-check", "tap.txt");
  mkdirSync(dirname(raw), { recursive: true });
  rmSync(raw, { force: true });
  const reporter = process.stdout.isTTY ? "terse" : "min";
  const all = ["run", `--reporter=${reporter}`, `--output-file=${raw}`, ...args, ...files];
  const code = await runTool("tap", all, { ...options, env: { ...withoutGpu, ...env }, output, cwd });
  const text = existsSync(raw) ? readFileSync(raw, "utf8") : "";
  if (output !== "ignore") for (const [line] of text.matchAll(/^(not )?ok .*$/gm)) console.log(line);
  // The last line of counts is the whole run's: "# { total: 12, pass: 11, fail: 1 }".
  const counts = [...text.matchAll(/^# \{ (total: .*) \}\s*$/gm)].at(-1)?.[1] ?? "";
  const count = (name) => Number(new RegExp(`\\b${name}: (\\d+)`).exec(counts)?.[1] ?? 0);
  const failed = count("fail");
  const failures = [...text.matchAll(/^\s*not ok \d+ - (.*?)(?: # .*)?$/gm)].map((match) => match[1]);
  return { passed: count("pass"), failed: code !== 0 && failed === 0 ? 1 : failed, failures };
}

/** Runs steps one after another, goes on after a failed one, and ends with the counts on a line of their own. */
export async function report(steps) {
  let passed = 0;
  let failed = 0;
  for (const [name, step] of steps) {
    const began = performance.now();
    console.log(`\n== ${name}`);
    try {
      const counts = (await step()) ?? { passed: 0, failed: 0 };
      passed += counts.passed;
      failed += counts.failed;
      console.log(`== ${name}: ${counts.failed === 0 ? "ok" : `${counts.failed} failed`}, ${((performance.now() - began) / 1000).toFixed(1)} s`);
    } catch (error) {
      failed += 1;
      console.log(`== ${name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  console.log(`\n${passed} passed, ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
}

/** A step that is one check: it passes when the command ends well. */
export async function asCheck(code) {
  return (await code) === 0 ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 };
}
