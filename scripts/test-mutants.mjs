// `npm run test:mutants -- [--subset] [part of a name ...]`: for each test/mutants/*.patch, applies it to a copy of the tree, rebuilds and
// requires the test that it names to fail. The patch's text before its first diff says how:
//   Test: native PART OF A NAME            a native test
//   Test: tap test/x.test.ts [--grep=RE]   a tap file, and in it a test or assertion with a name like that; those of test/cuda/ run on the
//                                          simulated driver of this tree
//   Subset: yes                            run by .ci/run as well
// Every named test must pass in the copy before any mutant is applied: a test that always fails proves nothing.
import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildCuda, tiers } from "./cuda-steps.mjs";
import { buildNative, buildTargets, buildTypeScript, report, root, run, runNativeTests, runTap } from "./steps.mjs";

const timeoutMs = 180_000;

function read(name) {
  const text = readFileSync(join(root, "test/mutants", name), "utf8");
  const header = text.slice(0, text.search(/^(diff --git|--- )/m));
  const test = /^Test: (native|tap) (.+)$/m.exec(header);
  if (test === null) throw new Error(`test/mutants/${name} has no header line "Test: native NAME" or "Test: tap FILE"`);
  return { name, kind: test[1], test: test[2].trim(), subset: /^Subset: yes$/m.test(header), typescript: /^\+\+\+ b\/lib\//m.test(text) };
}

const chosen = process.argv.slice(2).filter((argument) => argument !== "--subset");
const mutants = readdirSync(join(root, "test/mutants"))
  .filter((name) => name.endsWith(".patch"))
  .sort()
  .map(read)
  .filter((mutant) => !process.argv.includes("--subset") || mutant.subset)
  .filter((mutant) => chosen.length === 0 || chosen.some((part) => mutant.name.includes(part)));

let sound = false; // the named tests pass in the copy
const copy = mkdtempSync(join(tmpdir(), "splitwiser-mutants-"));

/** The sources are copied; what no mutant changes is linked. */
function copyTree() {
  const wanted = ["lib", "native", "kernels", "cmake", "test", "scripts", "CMakeLists.txt", "package.json", "tsconfig.json", ".taprc"];
  for (const name of wanted) cpSync(join(root, name), join(copy, name), { recursive: true });
  mkdirSync(join(root, "build-kernels"), { recursive: true }); // fatbins by content: what no mutant changes is not compiled again
  for (const name of ["node_modules", "models", "build-kernels"]) symlinkSync(join(root, name), join(copy, name), "junction");
}

async function build(mutant) {
  const options = { SPLITWISER_TESTS: "ON" };
  if (mutant === undefined || mutant.typescript) await buildTypeScript({ cwd: copy });
  const native = mutant === undefined || mutant.kind === "native";
  if (mutant === undefined || mutant.kind === "tap") await buildNative({ cwd: copy, targets: native ? ["splitwiser_tests"] : [], options, output: "ignore" });
  else await buildTargets({ cwd: copy, folder: join(copy, "build"), targets: ["splitwiser_tests"], options, output: "ignore" });
}

async function runTest({ kind, test }) {
  if (kind === "native") return runNativeTests({ cwd: copy, filters: [test], output: "ignore", timeoutMs });
  const [, file, pattern] = /^(\S+)(?:\s+--grep[= ](.+))?$/.exec(test) ?? [];
  if (file === undefined) throw new Error(`expected "Test: tap FILE [--grep=RE]", came "${test}"`);
  const env = file.startsWith("test/cuda/") ? { SPLITWISER_SIMDRIVER: tiers.fast.folder } : {};
  const counts = await runTap({ cwd: copy, files: [file], args: [`--timeout=${timeoutMs / 1000}`], output: "ignore", timeoutMs: 2 * timeoutMs, env });
  // A file that hangs or crashes fails without a name of its own.
  const named = new RegExp(pattern ?? "");
  const seen = counts.failures.length === 0 || counts.failures.some((name) => named.test(name) || /^timeout!|exit|signal/i.test(name));
  return seen ? counts : { ...counts, failed: 0 };
}

async function applied(mutant, ...flags) {
  const patch = join(root, "test/mutants", mutant.name);
  if ((await run("git", ["apply", ...flags, patch], { cwd: copy, env: { GIT_CEILING_DIRECTORIES: tmpdir() } })) !== 0) {
    throw new Error("the patch does not apply");
  }
}

async function unchanged() {
  if (mutants.some(({ test }) => test.startsWith("test/cuda/"))) await buildCuda(tiers.fast.targets);
  copyTree();
  await build();
  const tests = new Map(mutants.map((mutant) => [`${mutant.kind} ${mutant.test.replace(/ --grep.*/, "")}`, mutant]));
  for (const [key, mutant] of tests) {
    const { passed, failed } = await runTest({ ...mutant, test: mutant.test.replace(/ --grep.*/, "") });
    if (failed > 0 || passed === 0) throw new Error(`without any mutant the test does not pass: ${key}`);
  }
  sound = true;
  return { passed: 1, failed: 0 };
}

async function killed(mutant) {
  if (!sound) throw new Error("not tried: the tests must pass without a mutant first");
  await applied(mutant);
  try {
    await build(mutant);
    const { failed } = await runTest(mutant);
    if (failed === 0) throw new Error(`it lives: ${mutant.kind} ${mutant.test} does not see it`);
    return { passed: 1, failed: 0 };
  } finally {
    await applied(mutant, "-R");
    // What a mutant of lib/ left in dist/ would be the next one's.
    if (mutant.typescript) await buildTypeScript({ cwd: copy });
  }
}

try {
  await report([["without a mutant", unchanged], ...mutants.map((mutant) => [mutant.name, () => killed(mutant)])]);
} finally {
  rmSync(copy, { recursive: true, force: true });
}
