// The house rules that a compiler does not know: which room may include which, what stands where, words that mark unfinished work.
// Prints "file:line: rule" for each offence and exits 1 when there is one.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { root } from "./steps.mjs";

const generated = /^(node_modules|dist|build|build-[^/]*|prebuilds|\.git|\.tap|models|radiology-run|__pycache__)$/;
const mostLines = 400;

function* filesIn(folder) {
  for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
    const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
    if (entry.isDirectory()) {
      if (folder !== "" || !generated.test(entry.name)) yield* filesIn(path);
    } else if (entry.isFile()) {
      yield path;
    }
  }
}

const offences = [];
const offend = (file, line, rule) => offences.push(`${file}${line > 0 ? `:${line}` : ""}: ${rule}`);

const files = [...filesIn("")];
const isCpp = (file) => /\.(cpp|hpp|inl|h|cu|cuh)$/.test(file);
const isTs = (file) => /\.[cm]?ts$/.test(file);
const isCode = (file) => isCpp(file) || isTs(file) || /\.(mjs|py)$/.test(file) || /(^|\/)(CMakeLists\.txt|[^/]+\.cmake)$/.test(file);
/** A tool that was written elsewhere for this project and is kept as it is. */
const isTool = (file) => file.startsWith("test/ptx/ptxrun/");

// ---- rules for one line; `line` is the text, `file` the path from the root ---------------------

/** Rooms that a room may include besides itself. */
const arrows = {
  addon: ["engine", "model", "backend", "platform", "support"],
  engine: ["model", "backend", "platform", "support"],
  model: ["backend", "platform", "support"],
  backend: ["platform", "support"],
  platform: ["support"],
  support: [],
};

function includeRule(file, line) {
  const include = /^\s*#\s*include\s*([<"])([^>"]+)[>"]/.exec(line);
  if (include === null) return null;
  const [, mark, target] = include;
  const room = /^native\/([^/]+)\//.exec(file)?.[1];
  if (/^(\.\.\/)*(simt|simdriver|driver)\//.test(target) && file.startsWith("native/")) return "native/ knows nothing of the simulated driver";
  if (/^(cuda|cudaTypedefs|cuda_\w+|cupti|nv\w+)\.h/.test(target) && room !== undefined && !file.startsWith("native/backend/cuda/")) {
    return "only native/backend/cuda/ includes NVIDIA's headers";
  }
  if (/^(napi|node_api|js_native_api|uv)\b/.test(target) && room !== "addon") return "only native/addon/ includes Node's headers";
  const posix = /^(unistd|pthread|sched|dlfcn|fcntl|signal|poll|windows|numa|sys\/.*|linux\/.*|mach\/.*)\.?h?$/;
  if (mark === "<" && posix.test(target) && file.startsWith("native/") && room !== "platform") {
    return "only native/platform/ includes the operating system's headers";
  }
  if (mark !== '"') return null;
  if (file.startsWith("kernels/")) {
    if (file === "kernels/ptx.cuh" && target === "simt/device.hpp") return null; // for the simulated device, on its include path
    return existsSync(join(root, "kernels", target)) ? null : `kernels/ includes nothing from outside itself, but "${target}"`;
  }
  if (room === undefined || !(room in arrows)) return null;
  const targetRoom = /^(?:\.\.\/)*([^/]+)\//.exec(target)?.[1];
  if (targetRoom === undefined || targetRoom === room || !(targetRoom in arrows)) return null;
  if (!arrows[room].includes(targetRoom)) return `the arrow points the other way: ${room} may not include ${targetRoom}`;
  const throughSeam = targetRoom !== "backend" || room === "addon" || target === "backend/backend.hpp";
  return throughSeam ? null : `${room} knows a device by backend/backend.hpp only`;
}

// In pieces, so that this file does not offend.
const unfinished = new RegExp(
  `\\b(${["TO|DO", "FIX|ME", "XX|X", "HA|CK", "not impl|emented", "unimpl|emented", "place|holder", "for n|ow", "st|ub"].map((word) => word.replace("|", "")).join("|")})\\b`,
  "i",
);
const machinePath = /(^|[\s"'`(=])\/(work|farm|root|home)\/|\/bash_[j]obs/;
const looseTypes = /(: any\b|\bas any\b|<any>|@ts-(ignore|nocheck)|eslint-disable)/;
const leftOut = /(\.(skip|t[o]do|only)\(|\b(skip|t[o]do|only): ?(true|["'`]))/;
const ends = /(\bstd::(abort|exit|_Exit|quick_exit|terminate)\(|(^|[^\w:])::(abort|exit|_exit)\(|^\s*(abort|exit|_exit|terminate)\(|(^|[^\w])assert\()/;
const inlinePtx = /\basm(\s+volatile)?\s*\(/;
const notInKernels = [
  [/^\s*#\s*(if|ifdef|ifndef|elif|else)\b/, "kernels have no #if: host, simulated device and GPU differ in ptx.cuh only"],
  [/\b__shared__\b/, "shared memory is ptx::shared_memory()"],
  [/\b__restrict__\b|\b__ldg\b/, "no __restrict__ and no __ldg: read-only loads are ptx::load_nc_16"],
  [/\bprintf\s*\(/, "kernels do not print"],
  [/\batomic\w+(\.\w+)?\s*\(.*\b(float|double|half|__half|__nv_bfloat16)\b/, "no floating-point atomics: their order is chance"],
  [/\b__(expf|logf|log2f|powf|sinf|cosf|tanf|fdividef|sincosf)\b/, "no fast-math intrinsics: ptx::exp2_approx is the one approximation"],
  [/#\s*include\s*<cuda(_fp16|_bf16|_runtime)?\.h>|\btex(1D|2D|3D|1Dfetch)\b/, "kernels use no CUDA header and no textures"],
];

function kernelRules(file, line) {
  if (!file.startsWith("kernels/") || file === "kernels/ptx.cuh") return [];
  const rules = inlinePtx.test(line) ? ["inline PTX lives in kernels/ptx.cuh"] : [];
  if (/\b__CUDA(CC|_ARCH)__\b/.test(line) && file !== "kernels/sampling.hpp") rules.push("only ptx.cuh and sampling.hpp ask which compiler it is");
  if (/\.cuh?$/.test(file)) rules.push(...notInKernels.filter(([pattern]) => pattern.test(line)).map(([, rule]) => rule));
  return rules;
}

function lineRules(file, line) {
  const rules = [includeRule(file, line), ...kernelRules(file, line)];
  if (unfinished.test(line)) rules.push("a word that marks unfinished work");
  if (machinePath.test(line)) rules.push("a path of one machine");
  if (isTs(file) && looseTypes.test(line)) rules.push("no any, no ts-ignore, no eslint-disable");
  if (file.startsWith("test/") && isTs(file) && leftOut.test(line)) rules.push("a test that is left out");
  if (file.startsWith("native/") && ends.test(line)) rules.push("nothing a caller does may end the process: throw splitwiser::Error");
  return rules.filter((rule) => rule !== null);
}

for (const file of files.filter((name) => isCode(name) && !isTool(name))) {
  const lines = readFileSync(join(root, file), "utf8").split("\n");
  if (lines.length - 1 > mostLines) offend(file, 0, `${lines.length - 1} lines, at most ${mostLines}`);
  lines.forEach((line, index) => {
    for (const rule of lineRules(file, line)) offend(file, index + 1, rule);
  });
}

// ---- rules for the whole --------------------------------------------------------------------------

const listed = JSON.parse(readFileSync(join(root, "native/sources.json"), "utf8"));
const sources = files.filter((file) => /^(native|kernels)\/.*\.cpp$/.test(file));
for (const source of sources.filter((file) => !listed.includes(file))) offend("native/sources.json", 0, `${source} is not listed`);
for (const source of listed.filter((file) => !sources.includes(file))) offend("native/sources.json", 0, `${source} does not exist`);
for (const source of listed.filter((file, index) => listed.indexOf(file) !== index)) offend("native/sources.json", 0, `${source} is listed twice`);

if (/"resolved": *"https?:/.test(readFileSync(join(root, "package-lock.json"), "utf8"))) {
  offend("package-lock.json", 0, "a download address: write the file anew with omit-lockfile-registry-resolved=true");
}

for (const file of files.filter((name) => /^test\/mutants\/[^/]+\.patch$/.test(name))) {
  if (!/^Test: (native|tap) \S/m.test(readFileSync(join(root, file), "utf8"))) offend(file, 0, 'no header line "Test: native NAME" or "Test: tap FILE"');
  const applied = spawnSync("git", ["apply", "--check", file], { cwd: root, encoding: "utf8" });
  if (applied.status !== 0) offend(file, 0, `does not apply any more: ${(applied.stderr ?? "").trim().split("\n")[0] || "git is needed"}`);
}

for (const offence of offences) console.error(offence);
console.log(offences.length === 0 ? `house rules: ${files.length} files, nothing to mend` : `house rules: ${offences.length} to mend`);
process.exitCode = offences.length === 0 ? 0 : 1;
