// Writes native/sources.json anew from the folder: `npm run sources`. The lint compares the two.
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./steps.mjs";

const sources = readdirSync(join(root, "native"), { recursive: true })
  .map((path) => `native/${path.replaceAll("\\", "/")}`)
  .filter((path) => path.endsWith(".cpp"))
  .sort();
writeFileSync(join(root, "native/sources.json"), `${JSON.stringify(sources, null, 2)}\n`);
console.log(`native/sources.json: ${sources.length} files`);
