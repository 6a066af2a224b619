// What a user does with the installed package: programs in the four kinds of module, each printing the same line.
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Test } from "tap";
import { root, runNode } from "./npm.js";

const body = `
  const model = await loadModel("radiology");
  const result = await model.generate("findings : the heart is mildly enlarged . impression :", { maxTokens: 16 });
  await model.dispose();
  console.log(result.tokenIds.length, result.finishReason, result.timing.itlMs.length, result.text.trim());
`;
const typedBody = body.replace("const result =", "const result: Completion =");

/** Sources by file name; TypeScript ones are compiled to out/ first. */
const programs: Record<string, string> = {
  "esm.mjs": `import { loadModel } from "splitwiser";\n${body}`,
  "cjs.cjs": `const { loadModel } = require("splitwiser");\n(async () => {${body}})();\n`,
  "typed.ts": `import { loadModel, type Completion } from "splitwiser";\n${typedBody}`,
  "typed-cjs.cts": `import { loadModel, type Completion } from "splitwiser";\nvoid (async () => {${typedBody}})();\n`,
};

function compile(t: Test, project: string): void {
  // The types of Node are the user's own; the compiler is ours.
  mkdirSync(join(project, "node_modules/@types"), { recursive: true });
  for (const name of ["@types/node", "undici-types"]) symlinkSync(join(root, "node_modules", name), join(project, "node_modules", name), "junction");
  const compilerOptions = { module: "nodenext", target: "es2022", strict: true, rootDir: ".", outDir: "out", types: ["node"], skipLibCheck: false };
  writeFileSync(join(project, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["typed.ts", "typed-cjs.cts"] }));
  const compiled = runNode([join(root, "node_modules/typescript/bin/tsc"), "-p", "."], { cwd: project });
  t.equal(compiled.code, 0, `TypeScript accepts the package from both kinds of module${compiled.stdout}`);
}

/** Runs every program in a project that has the package installed. */
export function useInEveryWay(t: Test, project: string): void {
  for (const [name, text] of Object.entries(programs)) writeFileSync(join(project, name), text);
  compile(t, project);
  for (const script of ["esm.mjs", "cjs.cjs", "out/typed.js", "out/typed-cjs.cjs"]) {
    const ran = runNode([script], { cwd: project });
    t.same([ran.code, ran.stdout, ran.stderr], [0, "4 stop 3 mild cardiomegaly .\n", ""], `${script} writes the impression and ends with it`);
  }
}
