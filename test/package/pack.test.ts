// What `npm pack` would ship, and how the package is entered.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { ended, npm, root, run, runNode } from "./npm.js";

interface Packed {
  size: number;
  files: { path: string }[];
}
interface Manifest {
  exports: Record<string, string | Record<string, string>>;
  bin: Record<string, string>;
  scripts: Record<string, string>;
  gypfile: boolean;
}
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as Manifest;

t.test("the tarball holds what an install and a build need, and nothing else", async (t) => {
  const packed = npm(["pack", "--dry-run", "--json", "--ignore-scripts"]);
  t.equal(packed.code, 0, ended(packed, "npm pack"));
  const [tarball] = JSON.parse(packed.stdout) as Packed[];
  const paths = (tarball?.files ?? []).map((file) => file.path);
  const wanted = [
    "LICENSE",
    "CHANGELOG.md",
    "README.md",
    "CMakeLists.txt",
    "binding.gyp",
    "dist/index.js",
    "dist/index.d.ts",
    "dist/cli/main.js",
    "models/splitwiser-radiology-opt/model.safetensors",
    "models/radiology-data/test.findings.tok",
    "native/sources.json",
    "native/exports.map",
    "kernels/sampling.hpp",
    "scripts/toolchain.mjs",
    "scripts/kernels.mjs",
    "scripts/nvcc.mjs",
    "cmake/cuda.cmake",
    "kernels/ptx.cuh",
  ];
  for (const path of wanted) t.ok(paths.includes(path), `${path} is in it`);
  const sources = JSON.parse(readFileSync(join(root, "native/sources.json"), "utf8")) as string[];
  t.same(
    sources.filter((path) => !paths.includes(path)),
    [],
    "every source of the addon is in it",
  );
  const allowed = /^(dist|native|kernels|models|prebuilds)\/|^(scripts\/(toolchain|kernels|nvcc)\.mjs|cmake\/cuda\.cmake|package\.json|[A-Z]+(\.md)?|CMakeLists\.txt|binding\.gyp)$/;
  t.same(
    paths.filter((path) => !allowed.test(path) || /(\.test\.|\.tsbuildinfo$|\.o$|\.map\.js$)/.test(path)),
    [],
    "nothing else is",
  );
  t.ok((tarball?.size ?? Infinity) < 20e6, `it is small: ${((tarball?.size ?? 0) / 1e6).toFixed(1)} MB`);
});

t.test("every door of package.json leads somewhere", async (t) => {
  const targets = Object.values(manifest.exports).flatMap((entry) => (typeof entry === "string" ? [entry] : Object.values(entry)));
  for (const target of [...targets, ...Object.values(manifest.bin)]) t.ok(existsSync(join(root, target)), target);
  t.match(readFileSync(join(root, manifest.bin["splitwiser"] ?? ""), "utf8"), /^#!\/usr\/bin\/env node\n/, "the command can be run as a program");
});

t.test("the install script never wipes build/", async (t) => {
  t.equal(manifest.gypfile, false, "npm does not run node-gyp by itself");
  t.equal(manifest.scripts["install"], "node-gyp-build-test || cmake-js compile");
});

t.test("import and require give the same names", async (t) => {
  const print = "console.log(Object.keys(library).sort().join())";
  const imported = runNode(["--input-type=module", "-e", `import * as library from "splitwiser"; ${print}`]);
  const required = runNode(["--input-type=commonjs", "-e", `const library = require("splitwiser"); ${print}`]);
  t.equal(imported.code, 0, ended(imported, "import"));
  t.equal(required.code, 0, ended(required, "require"));
  // require() of an ES module may add its own marks.
  const names = (text: string): string[] => text.trim().split(",").filter((name) => !/^(__esModule|module\.exports)$/.test(name));
  t.same(names(required.stdout), names(imported.stdout));
  for (const name of ["loadModel", "devices", "SplitwiserError"]) t.ok(names(imported.stdout).includes(name), name);
});

t.test("the addon leaks no symbol and asks for no library but the system's", async (t) => {
  if (process.platform !== "linux") return void t.pass("looked at on Linux");
  const addon = join(root, "build/Release/splitwiser.node");
  const symbols = run("nm", ["-D", "--defined-only", addon]);
  const defined = symbols.stdout.trim().split("\n").map((line) => line.split(" ").at(-1));
  t.same(defined.sort(), ["napi_register_module_v1", "node_api_module_get_api_version_v1"]);
  const dynamic = run("objdump", ["-p", addon]).stdout;
  const needed = [...dynamic.matchAll(/NEEDED\s+(\S+)/g)].map((match) => match[1] ?? "");
  const system = /^(lib(c|m|dl|rt|pthread|stdc\+\+|gcc_s|atomic)\.so\.\d+|ld-linux.*|ld-musl.*|libc\.musl.*)$/;
  t.same(needed.filter((name) => !system.test(name)), [], needed.join(", "));
});
