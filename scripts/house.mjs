// The house rules that a compiler does not know: which room may include which, what stands where, words that mark unfinished work.
// Prints "file:line: rule" for each offence and exits 1 when there is one.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { root } from "./steps.mjs";

const generated = /^(node_modules|dist|build|build-[^/]*|prebuilds|\.git|\.tap|models|radiology-run)$/;
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
const isCode = (file) => isCpp(file) || isTs(file) || /\.mjs$/.test(file);

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
  if (/^(napi|node_api|js_native_api|uv)\b/.test(target) && room !== "addon") return "only native/addon/ includes Node's headers";
  const posix = /^(unistd|pthread|sched|dlfcn|fcntl|signal|poll|windows|numa|sys\/.*|linux\/.*|mach\/.*)\.?h?$/;
  if (mark === "<" && posix.test(target) && file.startsWith("native/") && room !== "platform") {
    return "only native/platform/ includes the operating system's headers";
  }
  if (mark !== '"') return null;
  if (file.startsWith("kernels/")) {
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

function lineRules(file, line) {
  const rules = [includeRule(file, line)];
  if (unfinished.test(line)) rules.push("a word that marks unfinished work");
  if (machinePath.test(line)) rules.push("a path of one machine");
  if (isTs(file) && looseTypes.test(line)) rules.push("no any, no ts-ignore, no eslint-disable");
  if (file.startsWith("test/") && isTs(file) && leftOut.test(line)) rules.push("a test that is left out");
  if (file.startsWith("native/") && ends.test(line)) rules.push("nothing a caller does may end the process: throw splitwiser::Error");
  if (file.startsWith("kernels/") && !file.endsWith("/ptx.cuh") && inlinePtx.test(line)) rules.push("inline PTX lives in kernels/ptx.cuh");
  return rules.filter((rule) => rule !== null);
}

for (const file of files.filter(isCode)) {
  const lines = readFileSync(join(root, file), "utf8").split("\n");
  if (lines.length - 1 > mostLines) offend(file, 0, `${lines.length - 1} lines, at most ${mostLines}`);
  lines.forEach((line, index) => {
    for (const rule of lineRules(file, line)) offend(file, index + 1, rule);
  });
}

// ---- rules for the whole --------------------------------------------------------------------------

const listed = JSON.parse(readFileSync(join(root, "native/sources.json"), "utf8"));
const sources = files.filter((file) => file.startsWith("native/") && file.endsWith(".cpp"));
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
