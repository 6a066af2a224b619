// Compiles kernels/*.cu to fatbins and writes the C++ file that embeds them. CMakeLists.txt and binding.gyp call it; it ships with the
// package and has no dependencies.
//   node scripts/kernels.mjs find             one JSON line: nvcc, its version and its headers, or the reason why CUDA is left out
//   node scripts/kernels.mjs build FOLDER     FOLDER/fatbins.cpp and FOLDER/kernels.json (registers, spills, stack per kernel and target)
//   node scripts/kernels.mjs gyp FOLDER       both, and prints the sources that binding.gyp is to compile, one on a line
//   node scripts/kernels.mjs include          the folder of the toolkit's headers, nothing without CUDA: for binding.gyp
// Targets: SPLITWISER_CUDA_ARCHS="80;90" or "all"; default: the GPUs of this machine, without any sm_80. PTX is always there.
// Fatbins are kept in build-kernels/ by a hash of all that goes into them, so that every build folder shares them.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { chosenArchs, findNvcc } from "./nvcc.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const kernels = join(root, "kernels");
const cache = join(root, "build-kernels");
const keptVersions = 6; // of each file, in the cache
const say = (text) => process.stderr.write(`kernels: ${text}\n`);

// Code for sm_90 and later waits for the kernel before it by itself (kernels/ptx.cuh, begin_kernel); the rest of the PTX is the same.
const flags = (archs) => [
  ...["-std=c++20", "-O3", "-fmad=false", "-Ikernels"],
  ...[80, 90].flatMap((virtual) => {
    const real = archs.filter((arch) => arch >= 90 === virtual >= 90);
    if (virtual === 90 && real.length === 0) return [];
    return ["-gencode", `arch=compute_${virtual},code=[${[...real.map((arch) => `sm_${arch}`), `compute_${virtual}`].join(",")}]`];
  }),
  ...["--fatbin", "-Xfatbin", "-compress-all", "--compress-mode=speed", "-Xptxas", "-v"],
];

/** A file of kernels/ and all that it includes from there, in order of first mention. */
function filesOf(name, seen = []) {
  if (seen.includes(name) || !existsSync(join(kernels, name))) return seen;
  seen.push(name);
  for (const [, target] of readFileSync(join(kernels, name), "utf8").matchAll(/^\s*#\s*include\s*"([^"]+)"/gm)) filesOf(target, seen);
  return seen;
}

function digestOf(name, archs, version) {
  const hash = createHash("sha256").update(JSON.stringify([version, flags(archs)]));
  for (const file of filesOf(name)) hash.update(`\0${file}\0`).update(readFileSync(join(kernels, file)));
  return hash.digest("hex").slice(0, 20);
}

/** What `ptxas -v` says: { kernel: { arch: { registers, spillStores, spillLoads, stack, shared, barriers } } }; sizes in bytes. */
export function parseResources(text) {
  const resources = {};
  let current = {};
  for (const line of text.split("\n")) {
    const entry = /Compiling entry function '(.+)' for 'sm_(\d+)/.exec(line);
    if (entry !== null) {
      current = {};
      (resources[entry[1]] ??= {})[entry[2]] = current;
    }
    const frame = /(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads/.exec(line);
    if (frame !== null) Object.assign(current, { stack: Number(frame[1]), spillStores: Number(frame[2]), spillLoads: Number(frame[3]) });
    const used = /Used (\d+) registers/.exec(line);
    if (used === null) continue;
    const number = (pattern) => Number(pattern.exec(line)?.[1] ?? 0);
    Object.assign(current, { registers: Number(used[1]), barriers: number(/used (\d+) barriers/), shared: number(/(\d+) bytes smem/) });
  }
  return resources;
}

/** Runs nvcc on one file of kernels/, into `part`; resolves to its output. */
function compile(name, part, { nvcc, archs, threads }) {
  const args = [...flags(archs), ...(threads > 1 ? ["--threads", String(threads)] : []), join("kernels", name), "-o", part];
  return new Promise((done, fail) => {
    const child = spawn(nvcc, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
    let text = "";
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (piece) => (text += piece));
    child.on("error", (error) => fail(new Error(`${nvcc} does not run: ${error.message}`)));
    child.on("close", (code) => {
      if (code === 0) return done(text);
      rmSync(part, { force: true });
      const told = text.split("\n").filter((line) => !line.startsWith("ptxas info") && !/bytes stack frame/.test(line));
      fail(
        new Error(
          `nvcc could not compile kernels/${name}:\n${told.join("\n").slice(0, 6000)}\n  ${nvcc} ${args.join(" ")}\n` +
            "If nvcc does not accept this machine's C++ compiler, name another by NVCC_CCBIN=/path/to/g++. SPLITWISER_CUDA=off builds without CUDA.",
        ),
      );
    });
  });
}

function writeIfNew(file, text) {
  if (existsSync(file) && readFileSync(file, "utf8") === text) return;
  writeFileSync(file, text);
}

/** Another build may prune, too: what is gone already is no error. */
function attempt(action, otherwise) {
  try {
    return action();
  } catch {
    return otherwise;
  }
}

function prune(stem) {
  const versions = readdirSync(cache)
    .filter((name) => name.startsWith(`${stem}-`) && name.endsWith(".fatbin"))
    .map((name) => ({ name, time: attempt(() => statSync(join(cache, name)).mtimeMs, 0) }))
    .sort((a, b) => b.time - a.time);
  for (const { name } of versions.slice(keptVersions)) {
    for (const file of [name, name.replace(/fatbin$/, "json")]) rmSync(join(cache, file), { force: true });
  }
}

/** What the cache holds, or will hold, of a file as it is now. */
function described(name, archs, version) {
  const stem = basename(name, ".cu");
  const base = join(cache, `${stem}-${digestOf(name, archs, version)}`);
  return { name, stem, fatbin: `${base}.fatbin`, notes: `${base}.json` };
}
const isThere = ({ fatbin, notes }) => existsSync(fatbin) && existsSync(notes);

/** Compiles one file into the cache. What was edited meanwhile is compiled again: a digest must not lie. */
async function compileInto({ nvcc, version }, archs, threads, name) {
  for (let file = described(name, archs, version); !isThere(file); ) {
    const began = performance.now();
    const part = `${file.fatbin}.${process.pid}`;
    const text = await compile(name, part, { nvcc, archs, threads });
    const after = described(name, archs, version);
    if (after.fatbin === file.fatbin) {
      const seconds = Math.round((performance.now() - began) / 100) / 10;
      writeFileSync(file.notes, JSON.stringify({ seconds, resources: parseResources(text) }));
      renameSync(part, file.fatbin);
      prune(file.stem);
    } else {
      rmSync(part, { force: true });
      file = after;
    }
  }
}

/** Compiles what the cache does not hold. Returns [{ name, stem, fatbin, seconds, resources }] in order of name. */
async function compileAll(found, archs) {
  mkdirSync(cache, { recursive: true });
  const names = readdirSync(kernels)
    .filter((name) => name.endsWith(".cu"))
    .sort();
  const describe = (name) => described(name, archs, found.version);
  // The longest first: the last one would run alone.
  const notes = readdirSync(cache).filter((name) => name.endsWith(".json"));
  const secondsIn = (name) => attempt(() => JSON.parse(readFileSync(join(cache, name), "utf8")).seconds, 0);
  const last = (stem) => Math.max(0, ...notes.filter((name) => name.startsWith(`${stem}-`)).map(secondsIn));
  const size = (name) => statSync(join(kernels, name)).size;
  const stale = names.filter((name) => !isThere(describe(name))).map((name) => ({ name, last: last(basename(name, ".cu")), size: size(name) }));
  stale.sort((a, b) => b.last - a.last || b.size - a.size);
  const began = performance.now();
  const seconds = (since) => ((performance.now() - since) / 1000).toFixed(1);
  const targets = archs.map((arch) => `sm_${arch}`).join(", ");
  if (stale.length > 0) say(`compiling ${stale.length} of ${names.length} files for ${targets} and PTX (CUDA ${found.version})`);
  const jobs = Math.min(8, availableParallelism());
  const threads = Math.floor(jobs / Math.max(1, stale.length));
  const waiting = [...stale];
  let done = 0;
  let failure;
  const work = async () => {
    for (let file = waiting.shift(); file !== undefined && failure === undefined; file = waiting.shift()) {
      const start = performance.now();
      await compileInto(found, archs, threads, file.name);
      done += 1;
      say(`${done} of ${stale.length}: ${file.name}, ${seconds(start)} s`);
    }
  };
  const noted = (error) => (failure ??= error);
  await Promise.all(Array.from({ length: jobs }, () => work().catch(noted)));
  if (failure !== undefined) throw failure;
  if (stale.length > 0) say(`all ${names.length} are there after ${seconds(began)} s`);
  const all = names.map(describe);
  if (!all.every(isThere)) return compileAll(found, archs); // edited while others were compiled
  return all.map((file) => ({ ...file, ...JSON.parse(readFileSync(file.notes, "utf8")) }));
}

/** The table of native/backend/cuda/fatbins.hpp. The assembler reads the files, so that the compiler never sees megabytes of numbers. */
function embedding(files) {
  const symbol = ({ stem }) => `splitwiser_fatbin_${stem.replaceAll(/\W/g, "_")}`;
  const begin = (file) => `${symbol(file)}_begin`;
  const end = (file) => `${symbol(file)}_end`;
  const assembler = (file) =>
    ['.pushsection .rodata.splitwiser_fatbins, \\"a\\"', ".balign 64", `.hidden ${begin(file)}`, `.hidden ${end(file)}`, `.globl ${begin(file)}`, `.globl ${end(file)}`]
      .concat([`${begin(file)}:`, `.incbin \\"${file.fatbin}\\"`, `${end(file)}:`, ".byte 0", ".popsection"])
      .map((line) => `    "${line}\\n"`)
      .join("\n");
  const hidden = '__attribute__((visibility("hidden")))';
  return [
    "// Written by scripts/kernels.mjs.",
    '#include "backend/cuda/fatbins.hpp"',
    "",
    "#include <array>",
    "#include <cstddef>",
    "#include <span>",
    "",
    ...files.flatMap((file) => [`asm(\n${assembler(file)});`, `extern "C" ${hidden} const unsigned char ${begin(file)}[];`, `extern "C" ${hidden} const unsigned char ${end(file)}[];`, ""]),
    "namespace splitwiser::cuda {",
    "",
    "std::span<const Fatbin> fatbins() {",
    `  static const std::array<Fatbin, ${files.length}> table{{`,
    ...files.map((file) => `      {"${file.stem}", ${begin(file)}, std::size_t(${end(file)} - ${begin(file)})},`),
    "  }};",
    "  return table;",
    "}",
    "",
    "}  // namespace splitwiser::cuda",
    "",
  ].join("\n");
}

async function build(folder, found) {
  const archs = chosenArchs();
  const files = await compileAll(found, archs);
  mkdirSync(folder, { recursive: true });
  writeIfNew(join(folder, "fatbins.cpp"), embedding(files));
  const report = files.map(({ name, fatbin, seconds, resources }) => ({ file: name, fatbin, bytes: statSync(fatbin).size, seconds, kernels: resources }));
  writeIfNew(join(folder, "kernels.json"), `${JSON.stringify({ nvcc: found.version, archs, files: report }, null, 1)}\n`);
}

/** For binding.gyp: paths are relative to the folder that gyp works in. */
async function gyp(folder, found) {
  const listed = JSON.parse(readFileSync(join(root, "native/sources.json"), "utf8"));
  const sources = listed.filter((file) => needsCuda(file) === undefined || needsCuda(file) === (found.nvcc !== undefined));
  if (found.nvcc !== undefined) {
    await build(resolve(folder), found);
    sources.push(relative(process.cwd(), join(resolve(folder), "fatbins.cpp")));
  } else {
    say(`CPU only: ${found.reason}`);
  }
  console.log(sources.join("\n"));
}

/** Whether a source is for builds with CUDA (true), without (false), or both (undefined). CMakeLists.txt has the same rule. */
function needsCuda(file) {
  if (!file.startsWith("native/backend/cuda/")) return undefined;
  return basename(file) !== "no_cuda.cpp";
}

const [command, folder] = process.argv.slice(2);
try {
  const found = findNvcc();
  if (command === "find") console.log(JSON.stringify(found));
  else if (command === "include") console.log(found.include ?? "");
  else if (command === "gyp" && folder !== undefined) await gyp(folder, found);
  else if (command === "build" && folder !== undefined && found.nvcc !== undefined) await build(resolve(folder), found);
  else throw new Error(command === "build" && folder !== undefined ? found.reason : "usage: node scripts/kernels.mjs find | build FOLDER | gyp FOLDER | include");
} catch (error) {
  console.error(`kernels: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
