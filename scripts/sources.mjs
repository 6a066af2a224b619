// Writes native/sources.json anew from native/ and kernels/: `npm run sources`. The lint compares them.
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./steps.mjs";

const sources = ["native", "kernels"]
  .flatMap((folder) => readdirSync(join(root, folder), { recursive: true }).map((path) => `${folder}/${path.replaceAll("\\", "/")}`))
  .filter((path) => path.endsWith(".cpp"))
  .sort();
writeFileSync(join(root, "native/sources.json"), `${JSON.stringify(sources, null, 2)}\n`);
console.log(`native/sources.json: ${sources.length} files`);
