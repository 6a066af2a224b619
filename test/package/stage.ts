// A copy of what the package ships, so that a tarball with or without prebuilds can be made and the tree stays as it is.
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { npm, root, runNode } from "./npm.js";

export interface Stage {
  /** Folder for everything, made by the test. */
  folder: string;
  prebuilt: boolean;
}

/** Packs the built tree; gives the path of the tarball. */
export function pack({ folder, prebuilt }: Stage): string {
  const stage = join(folder, "stage");
  rmSync(stage, { recursive: true, force: true });
  mkdirSync(stage, { recursive: true });
  const { files } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { files: string[] };
  for (const name of ["package.json", "README.md", "LICENSE", ...files]) {
    if (name !== "prebuilds" && existsSync(join(root, name))) cpSync(join(root, name), join(stage, name), { recursive: true });
  }
  if (prebuilt) {
    const built = runNode([join(root, "scripts/prebuild.mjs"), stage]);
    if (built.code !== 0) throw new Error(`prebuild failed: ${built.stderr}`);
  }
  const packed = npm(["pack", "--ignore-scripts", "--pack-destination", folder], { cwd: stage });
  if (packed.code !== 0) throw new Error(`npm pack failed: ${packed.stderr}`);
  const tarball = readdirSync(folder).find((name) => name.endsWith(".tgz"));
  if (tarball === undefined) throw new Error(`npm pack left no tarball: ${packed.stdout}`);
  return join(folder, tarball);
}

/** An empty project of a user, an ES module package. */
export function emptyProject(folder: string): string {
  const project = join(folder, "project");
  mkdirSync(project, { recursive: true });
  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "user", version: "1.0.0", private: true, type: "module" }));
  return project;
}
